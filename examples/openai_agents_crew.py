"""A crew of the OpenAI Agents SDK: the lead calls a researcher, which has a branch of its own.

Install `crewgate[openai-agents]`, start a gateway with an MCP endpoint, and set the key of your
model's provider. Then run `python examples/openai_agents_crew.py gw https://localhost:8443/mcp`.
"""

import asyncio
import sys
from pathlib import Path

from agents import Agent, Runner
from agents.models.interface import Model

from crewgate.integrations import BranchSpawner
from crewgate.integrations.openai_agents import BranchMCPServer, agent_branches
from crewgate.issuer import Orchestrator


async def run_crew(folder: Path, url: str, model: Model | str | None = None) -> str:
    """Run the crew, and return the answer of the lead."""
    with (
        Orchestrator.from_config(folder / "crewgate.toml", crew="article") as article,
        BranchSpawner(
            article.start_run(credits="1.00", tools=["otters.*"]), credits="0.10"
        ) as branches,
        agent_branches(branches),
    ):
        async with BranchMCPServer(branches, url, ca=folder / "certs" / "ca.pem") as server:
            researcher = Agent(
                name="researcher",
                instructions="Count what the user asks for.",
                model=model,
                mcp_servers=[server],
            )
            lead = Agent(
                name="lead",
                instructions="Ask the researcher, and write one sentence.",
                model=model,
                tools=[researcher.as_tool("research", "Counts things.")],
            )
            result = await Runner.run(lead, "How many otters are there?")
            return str(result.final_output)


if __name__ == "__main__":
    print(asyncio.run(run_crew(Path(sys.argv[1]), sys.argv[2])))
