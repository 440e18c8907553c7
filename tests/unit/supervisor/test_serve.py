"""The supervisor: what it replaces, and what it hears meanwhile. No agent of these tests serves."""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from crewgate import limits
from crewgate.config import Config, load
from crewgate.core.health import ComponentHealth
from crewgate.demo.ports import reserve
from crewgate.errors import ConfigurationError
from crewgate.runtime.readiness import READY, ReadinessListener
from crewgate.supervisor import child, serve
from crewgate.supervisor.child import Child, DrainingChildren, begin
from crewgate.supervisor.serve import Supervisor
from crewgate.supervisor.signals import Signals

WAITS = """
import os, sys, time
try:
    os.write(int(sys.argv[sys.argv.index("--ready") + 1]), b"waiting")
except BrokenPipeError:
    pass
time.sleep(600)
"""
SERVES = """
import os, signal, sys, time
os.kill(os.getppid(), signal.SIGHUP)
os.kill(os.getppid(), signal.SIGUSR2)
time.sleep(float(sys.argv[1]))
os.write(int(sys.argv[sys.argv.index("--ready") + 1]), b"ready")
time.sleep(600)
"""


@pytest.fixture
def supervisor(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """It has an agent, and no child but that."""
    one = Supervisor(config.path)
    monkeypatch.setattr(one, "_restart_dead", lambda: None)
    one._agent = Child("agent", [sys.executable, "-S", "-c", WAITS])
    with ReadinessListener() as word:
        begin(one._agent, word)
    yield one
    one._kill()


def no_process(*_: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("code", [WAITS, ""], ids=["waits", "ended"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: edited(path, 'state = "state"', 'state = "other"'), "state cannot change"),
        (lambda path: edited(path, '\nname = "', '\nname = "b'), "name cannot change"),
        (lambda path: edited(path, "ledger.db", "other.db"), "[ledger] cannot change"),
        (lambda path: edited(path, "port = 9003", "port = 9009"), "port of [cluster] cannot"),
        (lambda path: path.write_text(path.read_text() + "[table]\nbranches = 64\n"), "[table]"),
        (lambda path: path.write_text("?"), "not TOML"),
    ],
    ids=["state", "name", "ledger", "cluster", "table", "bad"],
)
def test_an_agent_stays_where_a_restart_cannot_take_up_the_file(
    supervisor: Supervisor,
    log_lines: list[str],
    change: Callable[[Path], object],
    says: str,
    code: str,
) -> None:
    """Whether the successor says that it could go on, or not: log and status say why."""
    before = supervisor._agent
    before._arguments[-1] = code  # of the successor
    change(supervisor._config.path)
    with Signals() as signals:
        supervisor._restart(signals)
        assert supervisor._agent is before
        assert before.ended(0) is None
        assert not supervisor._leaving
    fact = supervisor._last_restart
    assert says in fact.why
    assert len(fact.why) <= limits.health_text_chars_max
    assert fact.why.startswith("the old agent continues: ")
    assert f"the restart is incomplete: {fact.why}" in log_lines
    if says != "not TOML":
        assert fact.why.endswith("end `crewgate serve` and start it again, or take the change back")


def test_an_agent_is_replaced_under_a_file_that_it_can_take_up(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before is sent SIGUSR2 then."""
    before, told = supervisor._agent, supervisor._await
    edited(supervisor._config.path, "drain_seconds = ", "drain_seconds = 1")
    monkeypatch.setattr(
        supervisor, "_await", lambda *given: given[3] == READY or told(*given), raising=True
    )
    with Signals() as signals:
        deadline = time.monotonic() + limits.restart_seconds_in_all
        assert supervisor._replace_agent(signals, deadline)
    assert supervisor._agent is not before
    os.waitid(os.P_PID, before.pid, os.WEXITED | os.WNOWAIT)
    assert before.ended(0) == -signal.SIGUSR2


@pytest.mark.parametrize("who", ["agent", "workers"])
def test_a_restart_ends_no_process_if_the_kernel_starts_none(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """It has no process or no memory left for a moment."""
    old = Child("worker 0", [sys.executable, "-S", "-c", WAITS])
    with ReadinessListener() as word:
        begin(old, word)
    supervisor._workers.children = {0: old}
    supervisor._config = msgspec.structs.replace(supervisor._config, listeners=())
    before = supervisor._agent

    def replace_agent(*_: object) -> bool:
        supervisor._agent = before.successor()
        return True

    if who == "workers":
        monkeypatch.setattr(supervisor, "_replace_agent", replace_agent)
    monkeypatch.setattr(child, "spawn", no_process)
    with Signals() as signals:
        supervisor._restart(signals)
    supervisor._agent = before
    assert before.ended(0) is old.ended(0) is None
    assert supervisor._workers.children == {0: old}
    assert f"the old {who.removesuffix('s')}" in supervisor._last_restart.why
    assert "Resource temporarily unavailable" in supervisor._last_restart.why


def test_a_child_that_the_kernel_does_not_start_is_started_later(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    """The supervisor goes on: systemd would not start it again after status 2."""
    spawn = child.spawn
    monkeypatch.setattr(child, "spawn", no_process)
    monkeypatch.setattr(supervisor._workers, "new", lambda *_: Child("worker 0", ["true"]))
    supervisor._config = msgspec.structs.replace(supervisor._config, workers=1, listeners=())
    supervisor._fit_workers()
    (worker,) = supervisor._workers
    for now in (10.0, 10.0):
        supervisor._keep(worker, now)
    assert worker.due > 10.0
    assert "cannot start worker 0 yet: Resource temporarily unavailable" in log_lines
    monkeypatch.setattr(child, "spawn", spawn)
    supervisor._keep(worker, worker.due)
    assert worker.running


def test_a_file_that_no_agent_takes_up_is_not_followed(supervisor: Supervisor) -> None:
    """As a whole or not at all: the number of workers stays too."""
    before = supervisor._config
    edited(before.path, 'state = "state"', 'state = "other"')
    supervisor._follow()
    assert supervisor._config is before
    with pytest.raises(ConfigurationError, match="state cannot change"):
        serve.following(before)


@pytest.mark.parametrize("seconds", ["0", "0.3"], ids=["together", "apart"])
def test_what_is_heard_during_a_restart_is_done_after_it(
    supervisor: Supervisor, seconds: str
) -> None:
    """A SIGHUP and a SIGUSR2 that come while a successor starts; it is waited for all the same."""
    child = Child("x", [sys.executable, "-S", "-c", SERVES, seconds])
    with Signals() as signals, ReadinessListener() as word:
        begin(child, word)
        assert supervisor._await(signals, time.monotonic() + 60, [(child, word)], READY)
        assert signals.wait(0) == {signal.SIGHUP, signal.SIGUSR2}
        child.send(signal.SIGKILL)
        child.wait()


def test_a_successor_that_ends_is_no_orphan(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process of a container would take its exit status, and its process id is free."""
    child = Child("x", [sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    owned: list[int] = []
    monkeypatch.setattr(serve, "reap_orphans", owned.extend)
    monkeypatch.setattr(supervisor, "_children", lambda: [supervisor._agent])

    def restart_dead() -> None:
        Supervisor._restart_dead(supervisor)
        child.send(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(supervisor, "_restart_dead", restart_dead)
    with Signals() as signals, ReadinessListener() as word:
        begin(child, word)
        pid = child.pid
        assert not supervisor._await(signals, time.monotonic() + 60, [(child, word)], READY)
        child.wait()
    assert pid in owned
    assert supervisor._successors == []


@pytest.mark.parametrize("code", ["", WAITS], ids=["ended", "slow"])
def test_a_failed_restart_keeps_no_socket_without_a_worker(
    supervisor: Supervisor, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that a reload has added is the old worker's own: clients would wait elsewhere."""
    port = reserve()
    edited(supervisor._config.path, "port = 9000", f"port = {port}")
    supervisor._config = load(supervisor._config.path)
    old = Child("worker 0", [sys.executable, "-S", "-c", WAITS])
    with ReadinessListener() as word:
        begin(old, word)
    supervisor._workers.children = {0: old}
    new = Child("worker 0", [sys.executable, "-S", "-c", code])
    monkeypatch.setattr(supervisor._workers, "new", lambda *_: new)
    with Signals() as signals:
        assert not supervisor._replace_workers(signals, time.monotonic() + 0.5)
    assert supervisor._workers.children == {0: old}
    assert not new.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_admin_process_starts_again_while_the_agent_cannot_start(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform would end a gateway whose ledger is away if no probe got an answer."""
    monkeypatch.setattr(supervisor, "_fit_workers", lambda: None)
    waiting, supervisor._agent = supervisor._agent, Child("agent", ["sh", "-c", "exit 75"])
    waiting.send(signal.SIGKILL)
    waiting.wait()
    admin = supervisor._optional.admin
    admin._arguments[:] = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    with Signals() as signals:
        assert supervisor._try_agent(signals) == os.EX_TEMPFAIL
        first = admin.pid
        assert first > 0
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert supervisor._try_agent(signals) == os.EX_TEMPFAIL
    assert admin.pid not in {first, -1}


def test_a_gateway_that_ends_says_that_it_is_not_ready(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its workers finish their calls, so that a platform sends no more clients here."""
    running, reports = list[bool](), list[ComponentHealth]()

    def report(facts: Sequence[ComponentHealth]) -> bool:
        running.append(supervisor._agent.running)
        reports.extend(facts)
        return True

    monkeypatch.setattr(supervisor._reporter, "report", report)
    with Signals() as signals:
        supervisor._drain(signals)
    assert running == [True]
    assert [(each.component, each.refuses) for each in reports] == [("drain", True)]
    assert not supervisor._agent.running


def test_a_child_that_has_ended_already_does_not_leave() -> None:
    """One that is dead when it is replaced is waited for no more; the others until they end."""
    dead, alive = (Child("x", [sys.executable, "-S", "-c", WAITS]) for _ in range(2))
    leaving = DrainingChildren()
    leaving.add(dead, 10.0)
    with ReadinessListener() as word:
        begin(alive, word)
    leaving.add(alive, 10.0)
    assert list(leaving) == [alive]
    leaving.reap(10.0)
    assert len(leaving) == 1
    leaving.reap(10.1)
    os.waitid(os.P_PID, alive.pid, os.WEXITED | os.WNOWAIT)
    leaving.reap(10.1)
    assert not leaving
