"""The supervisor's care for workers, with workers that serve nothing but attach for real."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from agent_process import COMMAND, Site
from orchestrators import is_running

from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_messages import AgentStatus
from crewgate.runtime.listening import listen


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A configuration that asks for two workers."""
    site = Site(tmp_path, workers=2)
    yield site
    site.end()


def _until(site: Site, what: Callable[[AgentStatus], bool]) -> AgentStatus:
    """The first status that fits; the test's own time limit bounds it."""
    while True:
        try:
            status = site.status()
        except ServiceConnectionError:
            time.sleep(0.02)
            continue
        if what(status):
            return status
        time.sleep(0.02)


def _ready(site: Site) -> AgentStatus:
    return _until(site, lambda status: status.ready)


def _workers(supervisor: int) -> dict[int, int]:
    """Process ids of the workers that run, by index."""
    found = {}
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in map(int, children):
        with suppress(OSError):  # it has just ended
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--worker" in words:
                found[int(words[words.index(b"--worker") + 1])] = pid
    return found


def test_ready_means_all_workers_and_a_killed_one_comes_back(site: Site) -> None:
    """Two attach and accept; after SIGKILL of one there are two again, the other untouched."""
    serve = site.serve_stubs()
    _ready(site)
    before = _workers(serve.pid)
    assert set(before) == {0, 1}
    os.kill(before[0], signal.SIGKILL)
    _until(site, lambda _: _workers(serve.pid).get(0, before[0]) != before[0])
    _ready(site)
    assert _workers(serve.pid)[1] == before[1]


def test_a_killed_serve_takes_all_children_along(site: Site) -> None:
    """Agent and workers are gone, a stopped one too; the next serve is ready on the same table."""
    serve = site.serve_stubs()
    status = _ready(site)
    workers = _workers(serve.pid)
    os.kill(workers[1], signal.SIGSTOP)
    serve.kill()
    serve.wait()
    while any(map(is_running, [status.pid, *workers.values()])):
        time.sleep(0.01)
    site.serve_stubs()
    assert _ready(site).life == status.life


def test_workers_attach_to_the_next_agent(site: Site) -> None:
    """The agent is killed; its successor is ready with the same worker processes."""
    serve = site.serve_stubs()
    status = _ready(site)
    workers = _workers(serve.pid)
    os.kill(status.pid, signal.SIGKILL)
    _until(site, lambda status_: status_.ready and status_.pid != status.pid)
    assert _workers(serve.pid) == workers


def test_the_number_of_workers_follows_the_file(site: Site) -> None:
    """More are started, fewer are ended, without a signal and without a restart of the others."""
    serve = site.serve_stubs()
    _ready(site)
    before = _workers(serve.pid)
    site.workers = 3
    site.write()
    _until(site, lambda status: status.ready and len(status.workers) == 3)
    assert _workers(serve.pid).items() > before.items()
    site.workers = 1
    site.write()
    _until(site, lambda status: status.ready and len(status.workers) == 1)
    _until(site, lambda _: set(_workers(serve.pid)) == {0})
    assert _workers(serve.pid)[0] == before[0]


@pytest.mark.parametrize("how", ["willing", "stubborn", "stopped"])
def test_sigterm_ends_everybody_with_status_0(site: Site, how: str) -> None:
    """Workers that do not end within the drain are killed; the supervisor's status is 0."""
    if how == "stubborn":
        (site.folder / "stubborn").touch()
    serve = site.serve_stubs()
    agent = _ready(site).pid
    workers = _workers(serve.pid)
    if how == "stopped":
        os.kill(workers[0], signal.SIGSTOP)
    serve.send_signal(signal.SIGTERM)
    assert serve.wait() == 0
    assert not any(map(is_running, [agent, *workers.values()]))
    killed = "did not end in time" in (site.folder / "serve.log").read_text()
    assert killed is (how != "willing")


def test_told_twice_it_ends_at_once(site: Site) -> None:
    """A second SIGTERM does not wait for the drain, however long that was configured."""
    (site.folder / "stubborn").touch()
    site.drain = 3000
    site.write()
    serve = site.serve_stubs()
    _ready(site)
    serve.send_signal(signal.SIGTERM)
    log = site.folder / "serve.log"
    while "draining" not in log.read_text():
        time.sleep(0.02)
    serve.send_signal(signal.SIGTERM)
    assert serve.wait() == 0


def test_a_port_that_another_gateway_has_is_refused(site: Site, tmp_path: Path) -> None:
    """The kernel would let the two share it: status 2, one line that names it, no agent left."""
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other", workers=2)
    text = site.file.read_text()
    other.file.write_text(text)
    with listen("127.0.0.1", int(text.partition("port = ")[2].split()[0])):
        refused = other.command("serve")
    assert refused.returncode == 2
    last = refused.stderr.splitlines()[-1]
    assert "listener agents: cannot listen on 127.0.0.1 port" in last
    assert "change `port` here; `crewgate init DIR --port PORT`" in last
    assert "no agent listens" in other.command("status").stdout


def test_nobody_waits_for_a_gateway_that_has_ended(site: Site) -> None:
    """`status --wait` is over soon after `serve`, but not before another one may have started."""
    port = site.file.read_text().partition("port = ")[2].split()[0]
    with listen("127.0.0.1", int(port)):
        waiting = subprocess.Popen(
            [*COMMAND, "status", "-c", str(site.file), "--wait", "3600"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert site.command("serve").returncode == 2
    ended = time.monotonic()
    shown, _ = waiting.communicate()
    assert waiting.returncode == 2
    assert time.monotonic() - ended > 3
    assert "if you have started it, its log says why" in " ".join(shown.split())
