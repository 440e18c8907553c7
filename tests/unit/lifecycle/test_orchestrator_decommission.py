"""The end of an orchestrator: in its order, to be done again, and never lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from full_register import full_books
from orchestrator_certificates import ONE, OTHER, issue

from crewgate import limits
from crewgate.ca.authority import configured_ca
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.decommission_intents import DecommissionIntent
from crewgate.ca.unrecorded_revocations import UnrecordedRevocations, unwritten_of
from crewgate.config import Config
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import CAError, ServiceConnectionError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.issuer.signing import SigningKey
from crewgate.lifecycle import orchestrator_decommission, processes
from crewgate.lifecycle.liveness_lock import LivenessLock
from crewgate.lifecycle.orchestrator_decommission import DecommissionResult
from crewgate.lifecycle.orchestrator_runs import (
    OrchestratorRunRecord,
    OrchestratorRunState,
    OrchestratorRunStore,
)
from crewgate.lifecycle.processes import RunProcess

GONE = RunProcess(2**22 - 1, 1, "another boot")


class Agent:
    """The running gateway, as far as `announce` goes: hears, or is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.heard: list[tuple[list[str], list[RevocationTarget]]] = []

    def announce(
        self,
        register: CertificateDB,
        state: Path,
        entries: Sequence[CertificateRecord],
        more: Sequence[RevocationTarget],
    ) -> RevocationReceipt:
        if self.is_away:
            raise ServiceConnectionError("no agent listens here")
        self.heard.append(([entry.serial for entry in entries], list(more)))
        register.announced(entry.serial for entry in entries)
        return RevocationReceipt(connections_closed=len(entries))


@pytest.fixture(autouse=True)
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent()
    monkeypatch.setattr(orchestrator_decommission, "announce", agent.announce)
    monkeypatch.setattr(limits, "run_announce_seconds", 0.0)
    return agent


def lives_of(config: Config) -> OrchestratorRunStore:
    assert config.ca is not None
    return OrchestratorRunStore(config.ca.register)


def begin(
    config: Config,
    process: RunProcess,
    name: str = "bd-1",
    instance: bytes = ONE,
    hold: Callable[[int], None] = lambda number: None,
) -> OrchestratorRunRecord:
    with lives_of(config) as lives:
        return lives.begin("article", name, process, instance, hold)


def standing(config: Config) -> dict[str, OrchestratorRunState]:
    with lives_of(config) as lives:
        return {life.name: life.state for life in lives.open()}


def listed(config: Config) -> set[int]:
    """The serials that a gateway refuses by the list."""
    assert config.ca is not None
    crl = x509.load_pem_x509_crl(config.ca.crl.read_bytes())
    return {each.serial_number for each in crl}


def statuses(config: Config) -> dict[str, str]:
    """Of orchestrators' certificates; `init` has had the gateway's signed."""
    assert config.ca is not None
    with CertificateDB(config.ca.register) as register:
        return {each.serial: each.status(0) for each in register.all() if each.crew}


def test_all_that_a_name_has_ends_in_one_step(config: Config, agent: Agent) -> None:
    """Overlapping certificates, those that a person issued, and the name itself; others stay."""
    begin(config, GONE)
    ours = {issue(config, ONE), issue(config, ONE), issue(config, OTHER)}
    others = issue(config, OTHER, name="bd-2")
    done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert done.is_complete
    assert done.certificates == 3
    assert statuses(config) == dict.fromkeys(ours, "revoked") | {others: "valid"}
    serials, names = agent.heard[0]
    assert set(serials) == ours
    assert [(name.kind, name.crew, name.name) for name in names] == [
        (EntityKind.ORCHESTRATOR, "article", "article/bd-1")
    ]
    # Again once nothing can be minted any more, up to that moment and no further.
    assert [name.before > 0 for _, (name,) in agent.heard] == [False, True]
    assert standing(config) == {}


@pytest.fixture
def pulse(config: Config) -> Iterator[LivenessLock]:
    assert config.ca is not None
    pulse = LivenessLock(config.ca.register)
    yield pulse
    pulse.stop()


def test_who_died_without_an_intent_is_ended_by_who_comes_next(
    config: Config, agent: Agent, pulse: LivenessLock
) -> None:
    """The start wrote down who it is; the living are left alone."""
    begin(config, GONE)
    begin(config, processes.this(), "alive", OTHER, pulse.acquire)
    dead, alive = issue(config, ONE), issue(config, OTHER, name="alive")
    (done,) = orchestrator_decommission.complete_intents(config)
    assert done.life.label == "article/bd-1"
    assert statuses(config) == {dead: "revoked", alive: "valid"}
    assert standing(config) == {"alive": OrchestratorRunState.RUNNING}
    assert orchestrator_decommission.complete_intents(config) == []


def test_an_end_that_another_process_has_just_begun_is_left_to_it(
    config: Config, agent: Agent
) -> None:
    """It tells the agent itself, and has the receipt; if it dies, this is done after a while."""
    serial = issue(config, ONE)
    with OrchestratorRunStore(configured_ca(config).register) as lives:
        lives.request_stop("article", "bd-1", int(time.time()))
    assert orchestrator_decommission.complete_intents(config, 3600) == []
    assert statuses(config) == {serial: "valid"}
    (done,) = orchestrator_decommission.complete_intents(config)
    assert done.is_complete
    assert statuses(config) == {serial: "revoked"}


def test_without_a_gateway_the_end_waits_to_be_told(
    config: Config, agent: Agent, pulse: LivenessLock
) -> None:
    """Certificates are dead by the list meanwhile, and the name may live again."""
    begin(config, GONE)
    serial = issue(config, ONE)
    agent.is_away = True
    done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert done.is_complete
    assert done.told is None
    assert "the gateway has not applied it yet" in done.complaints[0]
    assert standing(config) == {"bd-1": OrchestratorRunState.UNTOLD}
    begin(config, processes.this(), "bd-1", OTHER, pulse.acquire)
    later = issue(config, OTHER)
    agent.is_away = False
    (told,) = orchestrator_decommission.complete_intents(config)
    assert told.complaints == ()
    assert [serials for serials, _ in agent.heard] == [[serial]]
    assert agent.heard[0][1][0].before == done.life.until
    assert statuses(config) == {serial: "revoked", later: "valid"}
    assert standing(config) == {"bd-1": OrchestratorRunState.RUNNING}


@pytest.mark.parametrize("step", ["revoke", "publish", "announce", "terminate", "close", "move"])
def test_a_crash_at_any_step_is_completed_later(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before it: the intent stands, and whoever comes next does the rest."""
    begin(config, GONE)
    serial = issue(config, ONE)
    where = {
        "revoke": (orchestrator_decommission.Authority, "revoke"),
        "publish": (orchestrator_decommission.Authority, "publish"),
        "announce": (orchestrator_decommission, "announce"),
        "terminate": (orchestrator_decommission, "terminate"),
        "close": (orchestrator_decommission, "close"),
        "move": (orchestrator_decommission, "propagate_end"),
    }[step]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*where, killed)
        with pytest.raises(KeyboardInterrupt):
            orchestrator_decommission.decommission(config, "article", "bd-1")
    assert standing(config) != {}
    (done,) = orchestrator_decommission.complete_intents(config)
    assert done.is_complete
    assert statuses(config) == {serial: "revoked"}
    assert int(serial, 16) in listed(config)
    assert serial in [each for serials, _ in agent.heard for each in serials]
    assert standing(config) == {}


def own_key(config: Config, name: str) -> Path:
    """Give an orchestrator a key of its own."""
    path = config.crew("article").jwks
    key = SigningKey.generate(f"key-of-{name}")
    key.orchestrator = f"article/{name}"
    document = json.loads(path.read_text())
    document["keys"].append(key.jwk())
    path.write_text(json.dumps(document))
    return path


def test_its_own_keys_are_told_and_leave_the_jwks(config: Config, agent: Agent) -> None:
    """Those that speak for it alone; its crew's and another's stay."""
    path = own_key(config, "bd-1")
    own_key(config, "bd-2")
    done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert done.keys == ("key-of-bd-1",)
    assert [(name.kind, name.name) for name in agent.heard[0][1]][1:] == [
        (EntityKind.KEY, "key-of-bd-1")
    ]
    kids = [key["kid"] for key in json.loads(path.read_text())["keys"]]
    assert len(kids) == 2
    assert kids[1] == "key-of-bd-2"


def test_a_key_that_cannot_leave_keeps_the_name_ending(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its certificates and process are gone; the name is not given again until that is mended."""
    own_key(config, "bd-1")

    def refuse(path: Path, kids: Sequence[str]) -> None:
        raise CAError("take them out by hand")

    with monkeypatch.context() as patch:
        patch.setattr(orchestrator_decommission, "remove_keys", refuse)
        done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert not done.is_complete
    assert done.complaints == ("take them out by hand",)
    assert standing(config) == {"bd-1": OrchestratorRunState.ENDING}
    (done,) = orchestrator_decommission.complete_intents(config)
    assert done.is_complete


def test_a_crew_that_left_the_configuration_is_no_obstacle(config: Config) -> None:
    """Nobody trusts its keys; its certificates end like any."""
    begin(config, GONE)
    serial = issue(config, ONE)
    (done,) = orchestrator_decommission.complete_intents(msgspec.structs.replace(config, crews=()))
    assert done.is_complete
    assert statuses(config) == {serial: "revoked"}


def test_its_process_is_ended_and_what_it_left_too(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that hears nothing is killed; then whatever carries the mark of its life."""
    monkeypatch.setattr(limits, "run_farewell_seconds", 0.05)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); "
    command = [sys.executable, "-c", f"{deaf}time.sleep(600)"]
    marked = os.environ | {processes.MARK: ONE.hex()}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor,
        subprocess.Popen(command, stdout=subprocess.PIPE, env=marked) as left,
    ):
        for process in (supervisor, left):
            assert process.stdout is not None
            process.stdout.readline()
        found = {each.pid: each for each in processes.below(os.getpid())}
        begin(config, found[supervisor.pid])
        assert orchestrator_decommission.decommission(config, "article", "bd-1").is_complete
        assert supervisor.wait() == -signal.SIGKILL
        assert left.wait() == -signal.SIGKILL


def test_one_that_cannot_be_ended_is_in_nobodys_way(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a complaint, its intent stands, and the next one is ended."""
    begin(config, GONE, "stuck")
    begin(config, GONE, "next", OTHER)

    def terminate(config: Config, life: OrchestratorRunRecord) -> None:
        if life.name == "stuck":
            raise CAError("SIGKILL did not end it")

    monkeypatch.setattr(orchestrator_decommission, "terminate", terminate)
    stuck, other = orchestrator_decommission.complete_intents(config)
    assert stuck.complaints == ("article/stuck: SIGKILL did not end it",)
    assert other.is_complete
    assert standing(config) == {"stuck": OrchestratorRunState.ENDING}


def test_one_whose_process_cannot_be_looked_for_delays_no_other(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is another user's: that is said, and an end that was begun is completed."""
    begin(config, GONE, "unseen")
    ours = issue(config, OTHER)
    with lives_of(config) as lives:
        lives.request_stop("article", "bd-1", 1)

    def refuse(register: Path, number: int) -> bool:
        raise CAError("lives.lock: cannot be opened")

    monkeypatch.setattr(orchestrator_decommission, "is_held", refuse)
    unseen, done = orchestrator_decommission.complete_intents(config)
    assert unseen.complaints == ("article/unseen: lives.lock: cannot be opened",)
    assert (unseen.is_doubtful, done.is_doubtful) == (True, False)
    assert done.is_complete
    assert statuses(config) == {ours: "revoked"}
    assert standing(config) == {"unseen": OrchestratorRunState.RUNNING}


def test_what_runs_in_another_container_is_cut_off_and_told_of(
    config: Config, pulse: LivenessLock
) -> None:
    """Its pid says nothing here and its pulse beats: no certificate is left, its intent stands."""
    elsewhere = msgspec.structs.replace(processes.this(), boot="the same boot, other pids")
    begin(config, elsewhere, hold=pulse.acquire)
    serial = issue(config, ONE)
    assert orchestrator_decommission.complete_intents(config) == []
    with pytest.raises(CAError, match="runs in another container"):
        orchestrator_decommission.decommission(config, "article", "bd-1")
    assert statuses(config) == {serial: "revoked"}
    assert standing(config) == {"bd-1": OrchestratorRunState.ENDING}


def test_a_disk_that_is_full_saves_no_process(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list cannot be signed: what is open is closed, the process ends, the intent stands."""
    begin(config, GONE)
    serial = issue(config, ONE)
    ended: list[OrchestratorRunRecord] = []

    def full(*_: object) -> None:
        raise CAError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(orchestrator_decommission.Authority, "publish", full)
        patch.setattr(
            orchestrator_decommission, "terminate", lambda config, life: ended.append(life)
        )
        with pytest.raises(CAError, match="no space"):
            orchestrator_decommission.decommission(config, "article", "bd-1")
    assert [life.name for life in ended] == ["bd-1"]
    assert agent.heard[0][0] == [serial]
    (done,) = orchestrator_decommission.complete_intents(config)
    assert done.is_complete
    assert int(serial, 16) in listed(config)


def test_on_a_full_disk_all_is_dead_in_the_gateway_and_said_to_be_said_again(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once there is room, the same word completes it."""
    life = begin(config, GONE)
    serial = issue(config, ONE)
    with full_books(monkeypatch):
        done = orchestrator_decommission.decommission(config, "article", "bd-1")
        assert (done.is_complete, done.certificates, done.life.id) == (False, 1, life.id)
        assert agent.heard[0][0] == [serial]
        assert [name.name for name in agent.heard[0][1]] == ["article/bd-1"]
        assert any("the decommission is not on disk; repeat it" in each for each in done.complaints)
        assert serial in {f"{each:X}" for each in listed(config)}
    done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert (done.is_complete, done.complaints) == (True, ())
    assert statuses(config) == {serial: "revoked"}


def test_on_a_full_disk_a_name_that_nobody_runs_is_ended_too(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of a process, and all its tokens are dead."""
    with full_books(monkeypatch):
        done = orchestrator_decommission.decommission(config, "article", "bd-1")
    assert not done.is_complete
    assert [name.name for name in agent.heard[0][1]] == ["article/bd-1"]


def test_on_a_full_disk_the_process_of_an_end_that_is_held_is_ended(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would mint on; whoever holds its end tells the gateway once more then."""
    assert config.ca is not None
    held = unwritten_of(config.ca.register)
    intent = DecommissionIntent("article", "bd-1", "unspecified", 1)
    held.hold(intent, "the disk is full")
    held.mark_propagated(intent)
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(99)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        found = {each.pid: each for each in processes.below(os.getpid())}
        life = begin(config, found[supervisor.pid])
        with full_books(monkeypatch), lives_of(config) as lives:
            ended = [*orchestrator_decommission._end_held(config, lives, held)]
            assert (ended, held.is_propagated(intent)) == ([DecommissionResult(life)], False)
            held.mark_propagated(intent)
            assert (
                [*orchestrator_decommission._end_held(config, lives, held)],
                held.is_propagated(intent),
            ) == (
                [],
                True,
            )
        assert supervisor.wait() == -signal.SIGTERM


def test_who_completes_ends_begins_with_what_is_held(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk refuses of others does not hold it up, and it is said."""
    begin(config, GONE)
    seen: list[UnrecordedRevocations] = []
    monkeypatch.setattr(
        orchestrator_decommission, "_end_held", lambda *given: seen.append(given[2]) or []
    )
    with full_books(monkeypatch):
        (other,) = orchestrator_decommission.complete_intents(config)
    assert other.is_doubtful
    assert "disk is full" in other.complaints[0]
    assert config.ca is not None
    assert seen == [unwritten_of(config.ca.register)]


def test_on_a_full_disk_the_gateway_is_told_once_of_each_step(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the end, and once more when nothing can be minted; only the writing is tried again."""
    begin(config, GONE)
    serial = issue(config, ONE)
    with lives_of(config) as lives:
        lives.request_stop("article", "bd-1", 1)
    with full_books(monkeypatch):
        for _ in range(3):
            (done,) = orchestrator_decommission.complete_intents(config)
            assert "disk is full" in done.complaints[0]
        assert [serials for serials, _ in agent.heard] == [[serial], []]
        assert [name.name for _, (name,) in agent.heard] == ["article/bd-1"] * 2
    (done,) = orchestrator_decommission.complete_intents(config)
    assert (done.is_complete, len(agent.heard)) == (True, 3)
    assert agent.heard[2][1][0].before == done.life.until


def test_on_a_full_disk_the_gateway_hears_once_that_it_is_over(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk does not take that it has heard."""
    begin(config, GONE)
    agent.is_away = True
    orchestrator_decommission.decommission(config, "article", "bd-1")
    agent.is_away = False
    with full_books(monkeypatch):
        for _ in range(3):
            orchestrator_decommission.complete_intents(config)
    assert len(agent.heard) == 1
    (done,) = orchestrator_decommission.complete_intents(config)
    assert (done.complaints, len(agent.heard), standing(config)) == ((), 1, {})
    assert orchestrator_decommission.complete_intents(config) == []
    assert config.ca is not None
    assert (
        unwritten_of(config.ca.register).propagated_runs == set()
    )  # nothing is kept of what is over


def test_of_one_that_cannot_be_ended_the_gateway_hears_again(
    config: Config, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It mints on, somewhere where no signal reaches it."""

    def terminate(*_: object) -> None:
        raise CAError("it runs in another container")

    begin(config, GONE)
    monkeypatch.setattr(orchestrator_decommission, "terminate", terminate)
    for _ in range(3):
        orchestrator_decommission.complete_intents(config)
    assert [name.name for _, (name,) in agent.heard] == ["article/bd-1"] * 3
