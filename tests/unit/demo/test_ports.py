"""Ports of gateways that do not listen yet: free, and given to one process alone."""

import socket
import subprocess
import sys

import pytest

from crewgate.demo import ports
from crewgate.demo.ports import HOST, PORTS_PER_BLOCK, reserve
from crewgate.errors import DemoError


def block_of_an_ended_process() -> int:
    """The first port of a block that was another process's, which has ended."""
    script = "from crewgate.demo.ports import reserve; print(reserve())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(done.stdout)


def test_ports_are_free_and_not_those_of_outgoing_connections() -> None:
    """A gateway can bind each of them, for TCP and UDP, except the last of each block."""
    first = reserve(3)
    for port in range(first, first + 3 * PORTS_PER_BLOCK):
        assert port < 32_768
        if port % PORTS_PER_BLOCK != PORTS_PER_BLOCK - 1:
            socket.create_server((HOST, port)).close()  # as a gateway: connections may linger there
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
                bound.bind((HOST, port))


def test_no_two_processes_get_the_same() -> None:
    """A process keeps its ports until it ends, whether or not it listens there."""
    own = reserve()
    script = f"from crewgate.demo import ports; ports._FIRST_PORTS = [{own}]; ports.reserve()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"DemoError: no free ports" in done.stderr


def test_ports_of_another_process_are_not_bound_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway may be about to listen there."""
    own = reserve()
    bound: list[object] = []
    monkeypatch.setattr(ports, "_FIRST_PORTS", [own])
    monkeypatch.setattr(socket, "create_server", bound.append)
    with pytest.raises(DemoError, match="no free ports"):
        reserve()
    assert bound == []


def test_a_block_with_a_listener_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One port in use is enough, and nothing of such a block stays bound."""
    first = block_of_an_ended_process()
    monkeypatch.setattr(ports, "_FIRST_PORTS", [first])
    with socket.create_server((HOST, first + 5)), pytest.raises(DemoError, match="no free ports"):
        reserve()
    assert reserve() == first  # nothing stayed bound
