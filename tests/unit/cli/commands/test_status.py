"""What `status` says in words."""

import msgspec

from crewgate.cli.commands.status import _absent, _explained
from crewgate.core.health import HealthCondition, HealthState
from crewgate.ipc.admin_messages import (
    AgentStatus,
    MintingWatchRow,
    OverQuotaCrewStatus,
    WorkerStatus,
)
from crewgate.ipc.cluster_messages import QuorumSyncState

CONTROL = {
    "control": {
        "configured": True, "running": True, "has_key": True, "api": "https://127.0.0.1:8445"
    }
}  # fmt: skip
READY = AgentStatus(
    id=1,
    ready=True,
    waiting_for=[],
    pid=7,
    life="ab" * 16,
    fresh=True,
    policy_generation=3,
    revocation_generation=4,
    workers=[WorkerStatus(index=0, attached=True, accepting=True, policy_generation=3)],
    embedders=2,
    counts={"branches": 5, "revocations": 6, "reservations": 7, "attachments": 3},
)


def test_ready_is_the_first_word() -> None:
    """A script and a person both see it at once."""
    lines = _explained(msgspec.to_builtins(READY) | CONTROL).splitlines()
    assert lines[0] == "ready"
    assert "1 of 1 accept" in lines[3]


def test_a_person_without_the_right_learns_nothing_of_the_gateway() -> None:
    """And is not told to start one."""
    text = _explained(
        _absent("owner.sock: permission denied: run this as user crewgate", is_forbidden=True)
    )
    assert "run this as user crewgate" in text
    assert "crewgate serve" not in text


def test_not_ready_says_why() -> None:
    """Everything that is waited for."""
    status = msgspec.structs.replace(
        READY,
        ready=False,
        state=HealthState.FAILED,
        health=[
            HealthCondition(
                "table",
                HealthState.FAILED,
                "it was retired",
                "start again",
                refuses=True,
                since=1.0,
            ),
            HealthCondition("configuration", HealthState.DEGRADED, "a price", since=1.0),
        ],
    )
    lines = _explained(msgspec.to_builtins(status) | CONTROL).splitlines()
    assert lines[0] == "not ready: table"
    assert lines[1].startswith("failed    table, since ")
    assert lines[2:4] == ["          it was retired", "          To mend it: start again."]
    assert lines[4].startswith("degraded  configuration, since ")
    absent = _explained(_absent("no agent listens"))
    assert absent.splitlines()[0] == "not ready: agent"
    assert "no agent listens" in absent
    assert "To mend it: start `crewgate serve`" in absent
    stopped = _explained(_absent("it does not answer", 77))
    assert "To mend it: if this lasts, kill process 77 with SIGKILL" in " ".join(stopped.split())


def test_each_mistake_of_the_configuration_is_said_once() -> None:
    """The health has the first one; until it has, all stand below."""
    status = msgspec.structs.replace(READY, configuration_error="FILE: price\nFILE: tools")
    lines = _explained(msgspec.to_builtins(status) | CONTROL).splitlines()
    assert lines[-2:] == ["not loaded     FILE: price", "               FILE: tools"]
    why = "keeping the active configuration: FILE: price (and 1 more)"
    condition = HealthCondition("configuration", HealthState.DEGRADED, why, since=1.0)
    status = msgspec.structs.replace(status, state=HealthState.DEGRADED, health=[condition])
    text = _explained(msgspec.to_builtins(status) | CONTROL)
    assert text.splitlines()[-1] == "not loaded     FILE: tools"
    assert text.count("FILE: price") == 1


def test_what_is_lent_is_told_with_its_bound() -> None:
    """Only while there is any."""
    for most, bound in ((5_000_000, "of 5.00"), (2**53 - 1, "without a limit")):
        status = msgspec.structs.replace(READY, lent=30_000, lent_max=most)
        lines = _explained(msgspec.to_builtins(status) | CONTROL).splitlines()
        line = f"overdraft      0.03 credits {bound}, charged when the ledger is available again"
        assert line in lines
    assert "lent" not in _explained(msgspec.to_builtins(READY) | CONTROL)


def test_the_other_machines_are_one_line() -> None:
    """Where there may be any."""
    touch = QuorumSyncState(3, 2, 1, "majority", True, 0.4, 4.6)
    status = msgspec.structs.replace(READY, in_touch=touch)
    lines = _explained(msgspec.to_builtins(status) | CONTROL).splitlines()
    expected = "3 machines; compared with 2 of 2 others, 0.4 s ago; 1 is needed"
    assert f"cluster        {expected}" in lines
    assert "cluster" not in _explained(msgspec.to_builtins(READY) | CONTROL)


def test_who_is_not_left_alone_is_named() -> None:
    """What is in force, what would be, until when, by whom, and how many are not told."""
    status = msgspec.structs.replace(
        READY,
        watched=[
            MintingWatchRow(
                "article", "article/one", "quarantine", "quarantine", "owner", 1_800_000_000
            ),
            MintingWatchRow("article", "article/two", "quarantine", "throttle", "watch"),
        ],
        watched_more=7,
    )
    assert _explained(msgspec.to_builtins(status) | CONTROL).splitlines()[-3:] == [
        "watch          article/one quarantined until 2027-01-15 08:00Z (by a person)",
        "watch          article/two throttled, would be quarantined (by the watch)",
        "watch          7 more; see crewgate audit --watch",
    ]


def test_a_machine_is_named_and_crews_that_are_over_their_share() -> None:
    """With how often, and when last, all tokens of one were ended."""
    rows = [
        OverQuotaCrewStatus("article", 1_800_000_000, 3),
        OverQuotaCrewStatus("bd", 1_800_000_000, 1),
    ]
    status = msgspec.structs.replace(READY, machine="west-1", coarsened=rows)
    lines = _explained(msgspec.to_builtins(status) | CONTROL).splitlines()
    assert "machine        west-1" in lines
    said = "revocations    crew {} used up its share: all tokens were revoked {}, last at {}"
    at = "2027-01-15 08:00Z"
    assert lines[-2:] == [said.format("article", "3 times", at), said.format("bd", "once", at)]
