"""A crew of the Claude Agent SDK: the researcher has a branch of its own.

Install `crewgate[claude-agent]`, start a gateway with an MCP endpoint, and set ANTHROPIC_API_KEY.
Then run `python examples/claude_agent_crew.py gw URL`, with a URL such as
https://localhost:8443/mcp/otters.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from claude_agent_sdk import AgentDefinition, ClaudeAgentOptions, ResultMessage, query

from crewgate.integrations import BranchSpawner
from crewgate.integrations.claude_agent import branch_options
from crewgate.issuer import Orchestrator

RESEARCHER = AgentDefinition(
    description="Counts things.",
    prompt="Count what the user asks for with your tools.",
    tools=["mcp__otters__count"],
)


async def run_crew(folder: Path, url: str, options: ClaudeAgentOptions) -> str:
    """Run the crew, and return the answer of the main agent."""
    allowed = ["Agent", "mcp__otters__count"]
    own = replace(options, agents={"researcher": RESEARCHER}, allowed_tools=allowed)
    ca = folder / "certs" / "ca.pem"
    answer = ""
    with Orchestrator.from_config(folder / "crewgate.toml", crew="article") as article:
        run = article.start_run(credits="1.00", tools=["otters.*"])
        with (
            BranchSpawner(run, credits="0.10") as spawner,
            branch_options(spawner, url, name="otters", ca=ca, options=own) as connected,
        ):
            prompt = "Let the researcher count the otters, and write one sentence."
            async for message in query(prompt=prompt, options=connected):
                if isinstance(message, ResultMessage):
                    answer = message.result or ""
    return answer


if __name__ == "__main__":
    print(asyncio.run(run_crew(Path(sys.argv[1]), sys.argv[2], ClaudeAgentOptions())))
