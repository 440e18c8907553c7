"""A crew of CrewAI: the researcher has a branch of its own.

Install `crewgate[crewai]`, start a gateway with an MCP endpoint, and set the key of your model's
provider. Then run `python examples/crewai_crew.py gw URL MODEL`, with a URL such as
https://localhost:8443/mcp/otters.
"""

import sys
from pathlib import Path

from crewai import Agent, BaseLLM, Crew, Task

from crewgate.integrations import BranchSpawner
from crewgate.integrations.crewai import agent_branches, mcp_tools
from crewgate.issuer import Orchestrator


def run_crew(folder: Path, url: str, model: BaseLLM | str) -> str:
    """Run the crew, and return the answer of the researcher."""
    with Orchestrator.from_config(folder / "crewgate.toml", crew="article") as article:
        run = article.start_run(credits="1.00", tools=["otters.*"])
        with (
            BranchSpawner(run, credits="0.10") as spawner,
            agent_branches(spawner),
            mcp_tools(spawner, url, ca=folder / "certs" / "ca.pem") as tools,
        ):
            researcher = Agent(
                role="researcher",
                goal="Count what the user asks for.",
                backstory="You count things with your tools.",
                llm=model,
                tools=tools,
            )
            task = Task(
                description="How many otters are there?",
                expected_output="One sentence.",
                agent=researcher,
            )
            return str(Crew(agents=[researcher], tasks=[task]).kickoff())


if __name__ == "__main__":
    print(run_crew(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
