"""The examples of `examples`: a sub-agent of each framework gets a branch, and loses it at its end.

Each framework runs as people have it, with a scripted model in the place of a real one.
"""

import asyncio
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from client_gateway import ClientWorld
from documents import ROOT
from scripted_claude import scripted_claude

EXAMPLES = ROOT / "examples"
# The clients of the extra `dev` need other versions of MCP and OpenAI than CrewAI.
CREWAI = ROOT / "build" / "crewai" / "bin" / "python"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def framework(name: str, example: str) -> Any:
    """The module of an example; its test is skipped where its framework is not installed."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        return import_module(example)


Branch = dict[str, Any]


@contextmanager
def new_branches(world: ClientWorld) -> Iterator[Callable[[], list[Branch]]]:
    """The branches that are new since the block began, parents first."""
    before = {row["branch"] for row in world.premises.ask("tree")["branches"]}

    def found() -> list[Branch]:
        rows = world.premises.ask("tree")["branches"]
        return [row for row in rows if row["branch"] not in before]

    yield found


def check(world: ClientWorld, rows: list[Branch]) -> None:
    """One call, by the researcher, whose branch is below the run and ended with it."""
    (researcher,) = (row for row in rows if row["role"] == "researcher")
    assert researcher["parent"]
    assert (researcher["state"], researcher["spent_micro"]) == ("revoked", 10_000)
    assert (researcher["quota_micro"], len(rows)) == (100_000, 2)
    calls = [row for row in world.premises.records() if row.get("tool") == "otters.count"]
    assert {row["branch"] for row in calls if row["branch"] == researcher["branch"]}


def test_openai_agents(world: ClientWorld, otters: str) -> None:
    """An agent as a tool of another one; the call is refused when the credits are spent."""
    example = framework("agents", "openai_agents_crew")
    testing = import_module("agents.testing")
    import_module("agents").set_tracing_disabled(True)
    model = testing.ScriptedModel(
        [
            [testing.function_call("research", {"input": "Count otters."}, call_id="1")],
            [testing.function_call("count", {"things": "otters", "to": 3}, call_id="2")],
            [testing.assistant_message("3 otters")],
            [testing.assistant_message("There are 3 otters.")],
        ]
    )
    with new_branches(world) as found:
        answer = asyncio.run(example.run_crew(world.premises.folder, otters, model))
        check(world, found())
    assert answer == "There are 3 otters."
    tools = [[tool.name for tool in call.tools] for call in model.calls]
    assert tools == [["research"], ["count"], ["count"], ["research"]]


def test_langgraph(world: ClientWorld, otters: str) -> None:
    """A graph that a tool of another graph calls."""
    example = framework("langchain", "langgraph_crew")
    models = import_module("langchain_core.language_models.fake_chat_models")
    message = import_module("langchain_core.messages").AIMessage

    class Scripted(models.GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    def call(name: str, **arguments: object) -> Any:
        return message("", tool_calls=[{"name": name, "args": arguments, "id": name}])

    script = [
        call("research", question="Count otters."),
        call("count", things="otters", to=3),
        message("3 otters"),
        message("There are 3 otters."),
    ]
    with new_branches(world) as found:
        model = Scripted(messages=iter(script))
        answer = example.run_crew(world.premises.folder, otters, model)
        check(world, found())
    assert answer == "There are 3 otters."


def test_claude_agent(world: ClientWorld, otters: str, tmp_path: Path) -> None:
    """A sub-agent of Claude Code, whose tool calls come back to the program."""
    example = framework("claude_agent_sdk", "claude_agent_crew")
    with scripted_claude() as model, new_branches(world) as found:
        options = example.ClaudeAgentOptions(
            cwd=tmp_path,
            setting_sources=[],
            env={
                "ANTHROPIC_BASE_URL": model,
                "ANTHROPIC_API_KEY": "unused",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "CLAUDE_CONFIG_DIR": str(tmp_path),
                "HOME": str(tmp_path),
            },
        )
        answer = asyncio.run(example.run_crew(world.premises.folder, otters, options))
        check(world, found())
    assert "3 otters" in answer


SCRIPTED_CREWAI = """
import json, sys
from pathlib import Path
from crewai import BaseLLM
from crewai_crew import run_crew

class Scripted(BaseLLM):
    def call(self, messages, tools=None, **options):
        results = [each["content"] for each in messages if each["role"] == "tool"]
        if results:
            return results[-1]
        call = {"name": "count", "arguments": json.dumps({"things": "otters", "to": 3})}
        return [{"id": "1", "type": "function", "function": call}]

    def supports_function_calling(self):
        return True

print("answer:", run_crew(Path(sys.argv[1]), sys.argv[2], Scripted(model="scripted")))
"""


@pytest.mark.skipif(not CREWAI.exists(), reason="build/crewai is missing: run `make crewai`")
def test_crewai(world: ClientWorld, otters: str, tmp_path: Path) -> None:
    """An agent that executes a task, with version 1 of the MCP SDK."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(EXAMPLES)]),
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_TRACING_ENABLED": "false",
        "HOME": str(tmp_path),
    }
    with new_branches(world) as found:
        done = subprocess.run(
            [str(CREWAI), "-c", SCRIPTED_CREWAI, str(world.premises.folder), otters],
            env=os.environ | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert "answer: 3 otters" in done.stdout, done.stderr
        check(world, found())
