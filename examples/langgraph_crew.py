"""A crew of LangGraph: the lead calls a researcher, which has a branch of its own.

Install `crewgate[langgraph]` and `langchain`, start a gateway with an MCP endpoint, and set the key
of your model's provider. Then run `python examples/langgraph_crew.py gw URL MODEL`, with a URL such
as https://localhost:8443/mcp/otters.
"""

import sys
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from crewgate.integrations import BranchSpawner
from crewgate.integrations.langgraph import BranchCallbackHandler, mcp_tools
from crewgate.issuer import Orchestrator


def run_crew(folder: Path, url: str, model: BaseChatModel | str) -> str:
    """Run the crew, and return the answer of the lead."""
    with Orchestrator.from_config(folder / "crewgate.toml", crew="article") as article:
        run = article.start_run(credits="1.00", tools=["otters.*"])
        with BranchSpawner(run, credits="0.10") as spawner:
            branches = BranchCallbackHandler(spawner)
            with mcp_tools(branches, url, ca=folder / "certs" / "ca.pem") as tools:
                researcher = create_agent(model, tools, name="researcher")

                @tool
                def research(question: str) -> str:
                    """Ask the researcher, who counts things."""
                    answer = researcher.invoke({"messages": [("user", question)]})
                    return str(answer["messages"][-1].text)

                lead = create_agent(model, [research], name="lead")
                answer = lead.invoke(
                    {"messages": [("user", "How many otters are there?")]},
                    {"callbacks": [branches]},
                )
                return str(answer["messages"][-1].text)


if __name__ == "__main__":
    print(run_crew(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
