"""MCP tasks and streams on three machines: a revocation on one ends them at the server too."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest
from blocking_clients import Caller
from cluster_gateways import SECONDS, gateways, revoke
from installation import Installation, wait_until
from mcp_swarm import SwarmServer, begin_task, get_task, watch
from search_depth import deep

from crewgate.issuer import Orchestrator
from crewgate.runtime.sealing_key_file import make_sealing_keys

RUNS = deep(10, most=1000)
GONE = (HTTPStatus.BAD_REQUEST, {"code": -32602, "message": "The task does not exist."})
ENDPOINT = """
[upstream.swarm]
url = "http://127.0.0.1:{port}"
connections = 2000

[mcp.swarm]
path = "/mcp/swarm"
rewrite = "/mcp"
upstream = "swarm"
price = "0.001"
"""


@pytest.fixture
def server() -> Iterator[SwarmServer]:
    found = SwarmServer()
    yield found
    found.end()


@pytest.fixture
def three(tmp_path: Path, server: SwarmServer) -> Iterator[list[Installation]]:
    """In front of one server, with the same sealing keys."""

    def adapt(machine: Installation) -> None:
        make_sealing_keys(machine.folder / "gateway" / "sealing.keys")
        machine.edit('state = "state"', 'sealing_keys = "gateway/sealing.keys"\nstate = "state"')
        machine.edit('tools = ["search.*", ', 'tools = ["swarm.*", "search.*", ')
        with machine.file.open("a") as file:
            file.write(ENDPOINT.format(port=server.port))

    with gateways(tmp_path, 3, adapt=adapt) as found:
        server.wait()
        yield found


def test_a_kill_reaches_tasks_and_streams(three: list[Installation], server: SwarmServer) -> None:
    """Each branch has a task, which two machines know, and a stream through the third one.

    All tasks and streams run when the first branch is revoked. A revocation ends the stream, and
    the task at the server. No branch can use the task after it, and only its own branch before.
    """
    milliseconds = []
    with ExitStack() as stack:
        article = stack.enter_context(Orchestrator.from_config(three[0].file, crew="article"))
        callers = [stack.enter_context(closing(Caller(machine))) for machine in three]
        other = article.start_run(credits="1", tools=["swarm.*"])
        branches = []
        for number in range(RUNS):
            run = article.start_run(credits="1", tools=["swarm.*"])
            first, second, third = (callers[(number + each) % 3] for each in range(3))
            task = begin_task(first, run.token())
            assert get_task(second, run.token(), task) == (HTTPStatus.OK, "working")
            assert get_task(third, other.token(), task) == GONE
            stream = watch(third, run.token())
            stack.callback(stream.close)
            branches.append((run, task, stream))
        assert get_task(callers[0], other.token(), "no-such-task") == GONE
        assert set(server.tasks().values()) == {"working"}
        for run, task, stream in branches:
            receipt = revoke(three[0], run.branch)
            stream.end()
            assert b"branch-revoked" in stream.heard
            milliseconds.append((stream.last_ns - receipt.read_ns) / 1e6)
            for caller in callers:
                ask = partial(get_task, caller, run.token(), task)
                wait_until(lambda ask=ask: ask()[0] == HTTPStatus.UNAUTHORIZED, SECONDS)
            assert get_task(callers[1], other.token(), task) == GONE
        wait_until(lambda: set(server.tasks().values()) == {"cancelled"}, SECONDS)
        assert len(server.tasks()) == RUNS
    milliseconds.sort()
    print(
        f"\n{RUNS} tasks and streams over three machines: from a revocation to the client's last "
        f"byte median {statistics.median(milliseconds):.1f} ms, p99 "
        f"{milliseconds[min(RUNS - 1, RUNS * 99 // 100)]:.1f} ms, max {milliseconds[-1]:.1f} ms"
    )
