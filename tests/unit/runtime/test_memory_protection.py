"""No process that reads keys leaves a core, or lets others of its user look into it."""

import os
import subprocess
import sys

import pytest

# In a process of its own: what is given up there is given up for good.
SHOW = """
import ctypes, importlib, os, resource, sys

libc = ctypes.CDLL(None)
GET, SET = 3, 4
module, call, *arguments = sys.argv[1:]
libc.prctl(SET, 1, 0, 0, 0)
try:
    getattr(importlib.import_module(module), call)(*[arguments] if arguments else [])
except (SystemExit, Exception):
    pass
print(libc.prctl(GET, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""
MISSING = "/nonexistent/crewgate.toml"


def shown(module: str, call: str, *arguments: str, **environment: str) -> list[int]:
    """Dumpable or not, and the limits of cores, after a call in a new process."""
    found = subprocess.run(
        [sys.executable, "-c", SHOW, module, call, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in found.stdout.splitlines()[-1].split()]


@pytest.mark.parametrize(
    "arguments",
    [
        ("crewgate.agent.main", "main", "-c", MISSING, "--ready", "1"),
        ("crewgate.gateway.worker.main", "main", "-c", MISSING, "--worker", "0"),
        ("crewgate.control.main", "main", "-c", MISSING),
        ("crewgate.cli", "main", "serve", "-c", MISSING),
    ],
    ids=["agent", "worker", "control", "serve"],
)
def test_processes_of_a_gateway_leave_no_cores(arguments: tuple[str, ...]) -> None:
    """Not by themselves and not by what they start, from before the configuration is read."""
    assert shown(*arguments) == [0, 0, 0]


def test_a_command_is_closed_and_what_it_starts_is_not() -> None:
    """`run` starts a program that is not ours."""
    dumpable, *cores = shown("crewgate.cli", "main", "mint", "-c", MISSING)
    assert (dumpable, cores) == (0, shown("os", "getpid")[1:])


def test_a_developer_has_them_back() -> None:
    """By an environment variable alone."""
    for call in ("keep_memory_private", "leave_no_cores"):
        found = shown("crewgate.runtime.memory_protection", call, CREWGATE_DUMPABLE="1")
        assert found == shown("os", "getpid")
        assert shown("crewgate.runtime.memory_protection", call, CREWGATE_DUMPABLE="0")[0] == 0
