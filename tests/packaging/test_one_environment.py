"""Crewgate goes into the environment that an AI agent of today already has."""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# What the agents are written with, each in its newest version that fits. The extra `dev` has all of
# them but one, of 400 MB.
LARGE = {"claude-agent-sdk"}
FRAMEWORKS = {
    "fastapi",
    "langgraph",
    "langchain",
    "mcp",
    "openai",
    "openai-agents",
    "anthropic",
} | LARGE
UNREACHABLE = ("Connection error", "Failed to fetch", "error sending request", "dns error")


def resolve(folder: Path, *more: str, wanted_names: Iterable[str] = FRAMEWORKS) -> set[str]:
    """What uv chooses for all platforms and versions of Python, as `name==version`."""
    wanted = folder / "frameworks.in"
    wanted.write_text("\n".join(sorted(wanted_names)))
    command = [str(BIN / "uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    done = subprocess.run(
        [*command, "--universal", "--python-version=3.11", str(wanted), *more],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and any(text in done.stderr for text in UNREACHABLE):
        pytest.skip(f"uv does not reach PyPI: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return {line.partition(" ")[0] for line in done.stdout.splitlines()}


def test_crewgate_holds_no_framework_back(tmp_path: Path) -> None:
    """Beside the gateway, each package gets the version that it gets without Crewgate, by uv."""
    together = resolve(tmp_path, str(ROOT / "pyproject.toml"), "--extra=gateway")
    assert {pin.partition("==")[0] for pin in together} >= FRAMEWORKS | {"ngh2", "pynacl", "h2"}
    assert resolve(tmp_path) <= together


def test_the_extra_of_crewai_brings_its_newest_version(tmp_path: Path) -> None:
    """It needs older clients than the others, and goes into one environment with Crewgate."""
    project = str(ROOT / "pyproject.toml")
    with_crewgate = resolve(tmp_path, project, "--extra=crewai", wanted_names=())
    assert resolve(tmp_path, wanted_names={"crewai"}) <= with_crewgate


def test_pip_has_put_all_into_one_environment() -> None:
    """Pip installed the extra `dev`, with all frameworks, and finds no conflict in the result."""
    for name in FRAMEWORKS - LARGE | {"crewgate"}:
        assert metadata.version(name)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        env=os.environ | {"PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
