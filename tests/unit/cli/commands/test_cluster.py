"""What `cluster` says of the other machines, from answers that an agent might give."""

import json
from pathlib import Path
from typing import Any, Self

import pytest
from cli_runner import Run
from msgspec.structs import replace
from revocation_targets import orchestrator

from crewgate.cli.output.cluster import ago, status_lines, sync_line
from crewgate.ipc.admin_messages import QuorumResult, RevocationReceipt
from crewgate.ipc.cluster_messages import (
    GroupKeysRotated,
    MachineClusterStatus,
    MemberRow,
    QuorumSyncState,
)

TOUCH = QuorumSyncState(3, 2, 1, "majority", True, 0.4, 4.6)
STATUS = MachineClusterStatus(
    id=1,
    name="edge-1",
    in_touch=TOUCH,
    waiting_for="",
    max_staleness_seconds=5.0,
    capsules=7,
    keys=2,
    newest_key_seconds=90,
    next_key_seconds=3515,
    clock_ahead_seconds=0,
    log_complete=True,
    sent=10,
    received=11,
    refused={"replayed": 1, "unknown key": 3},
)
ROWS = [
    MemberRow("edge-1", "10.0.0.1:8446", "here", "counts", None, 2_000_000_000, True),
    MemberRow("edge-2", "[fd00::2]:8446", "dead", "leaving", 130.2, 2_000_000_000, True),
    MemberRow("edge-3", "10.0.0.3:8446", "alive", "joining", None, 2_000_000_000, False),
    MemberRow("edge-4", "", "suspect", "waiting", 0.8, 0, False),
    MemberRow("edge-5", "", "here", "evicted", None, 0, False),
]
RECEIPT = RevocationReceipt(
    id=1, targets=[orchestrator("gateway/edge-2")], read_ns=1, attachments=1,
    reach=QuorumResult("quorum", 2, 3, 9.5, ["edge-2"], enough=True),
)  # fmt: skip


class Agent:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.receipt = RECEIPT
        self.status = STATUS

    def __call__(self, folder: Path) -> "Agent":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def members(self) -> list[MemberRow]:
        return ROWS

    def cluster(self) -> MachineClusterStatus:
        return self.status

    def evict(self, name: str, until: str, *, force: bool) -> RevocationReceipt:
        self.asked.append((name, until, force))
        return self.receipt

    def rotate_keys(self, *, revoke_old: bool) -> GroupKeysRotated:
        self.asked.append(revoke_old)
        return GroupKeysRotated(id=1, keys=2, used_after_seconds=0 if revoke_old else 120)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent()
    monkeypatch.setattr("crewgate.cli.commands.cluster.AdminClient", agent)
    return agent


@pytest.fixture
def ask(run: Run, fresh: Path, agent: Agent) -> Any:
    """Runs a command of `cluster`; its lines, or what its JSON says, and its exit status."""

    def ask_agent(*arguments: str) -> Any:
        done = run("cluster", *arguments, "-c", fresh)
        if "--json" in arguments:
            return json.loads(done.stdout), done.exit_code
        return done.stdout.splitlines(), done.exit_code

    return ask_agent


def test_one_row_a_machine(ask: Any) -> None:
    """What it is to this one, whether it counts, and how long ago it was compared with."""
    lines, status = ask("members")
    assert status == 0
    rows = [[cell for cell in line.split("  ") if cell.strip()] for line in lines]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["name", "address", "state", "counts", "compared", "certificate ends (UTC)", "may revoke"],
        ["edge-1", "10.0.0.1:8446", "this machine", "yes", "–", "2033-05-18 03:33", "yes"],
        ["edge-2", "[fd00::2]:8446", "dead", "until a majority agrees to evict it", "2 min ago",
         "2033-05-18 03:33", "yes"],
        ["edge-3", "10.0.0.3:8446", "alive", "not yet: joining", "never", "2033-05-18 03:33", "no"],
        ["edge-4", "unknown", "suspect", "no: waiting to be accepted", "0.8 s ago", "unknown",
         "no"],
        ["edge-5", "unknown", "this machine", "no: it was evicted", "–", "unknown", "no"],
    ]  # fmt: skip


def test_rows_for_a_program(ask: Any) -> None:
    """Times of certificates as in `ca list`."""
    document, _ = ask("members", "--json")
    assert document["members"][1] == {
        "name": "edge-2",
        "address": "[fd00::2]:8446",
        "state": "dead",
        "standing": "leaving",
        "compared_seconds": 130.2,
        "may_revoke": True,
        "not_after": "2033-05-18T03:33:20Z",
    }
    assert document["members"][3]["not_after"] == ""


def test_a_machine_alone_says_which_peers_have_not_answered() -> None:
    """And one that is joined goes on without it until then."""
    alone = QuorumSyncState(1, 0, 0, "majority", True, None, None)
    assert sync_line(alone) == "this machine alone"
    assert sync_line(replace(alone, unreached=["a:1 (slow)", "b:2 (gone)"])) == (
        "this machine alone; no peer could be joined: a:1 (slow), b:2 (gone)"
    )
    assert sync_line(QuorumSyncState(2, 0, 1, "majority", True, None, None)).endswith(
        "compared with 0 of 1 other; none is needed until the other has joined"
    )


def test_how_this_machine_stands(ask: Any, agent: Agent) -> None:
    """Line by line; and for a script, whether it may admit."""
    lines, status = ask("status")
    assert status == 0
    assert lines == [
        "calls          accepted for 4.6 s more; each comparison renews this time",
        "machine        edge-1",
        "members        3 machines; compared with 2 of 2 others, 0.4 s ago; 1 is needed",
        "quorum         a majority of the members, within 5 s",
        "revocations    7 signed by members",
        "keys           2, the newest from 2 min ago; the next is due in 59 min",
        "clock          equal to the others' median",
        "datagrams      11 received, 10 sent, refused: 1 replayed, 3 unknown key",
    ]
    document, _ = ask("status", "--json")
    assert document["in_touch"]["needed"] == 1
    assert "id" not in document
    agent.status = replace(STATUS, waiting_for="a majority")
    assert ask("status")[1] == 1


def test_what_is_wrong_is_said() -> None:
    """Who is waited for; a clock, a log and keys that are not as they should be."""
    told = replace(
        STATUS,
        waiting_for="a majority",
        clock_ahead_seconds=2.5,
        log_complete=False,
        newest_key_seconds=None,
        refused={},
    )
    text = "\n".join(status_lines(told))
    assert text.startswith("calls          refused: waiting for a majority\n")
    assert "the log on disk is incomplete" in text
    assert "keys           none yet: this machine has met no other" in text
    assert "clock          2.5 s behind the others' median" in text
    assert "refused: none" in text


def test_a_pair_and_one_alone() -> None:
    """Where nobody is needed, that is said."""
    alone = replace(TOUCH, members=1, compared=0, needed=0, ago_seconds=None, synced_seconds=None)
    assert sync_line(alone) == "this machine alone"
    pair = replace(alone, members=2, quorum="any")
    assert sync_line(pair) == "2 machines; compared with 0 of 1 other; none is needed"
    first = next(status_lines(replace(STATUS, in_touch=pair)))
    assert first == "calls          accepted without a time limit: this machine needs no other"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59.9, "59.9 s"), (90, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_time_is_as_exact_as_anybody_wants_it(seconds: float, text: str) -> None:
    """In one unit."""
    assert ago(seconds) == text


def test_one_is_evicted(ask: Any, agent: Agent) -> None:
    """The receipt is that of a revocation; by force, what is left to do is said."""
    lines, status = ask("evict", "edge-2")
    assert lines == [
        "edge-2 is evicted: its certificates are revoked, and the others have a new key",
        "on the disks of 2 of 3 machines after 9.5 ms",
    ]
    assert status == 0
    lines, _ = ask("evict", "edge-2", "--force", "--until", "local")
    assert lines[1] == "it no longer counts here; run the command on each remaining machine"
    assert agent.asked == [("edge-2", "", False), ("edge-2", "local", True)]
    document, _ = ask("evict", "edge-2", "--json")
    assert (document["applied_on"], document["of"], document["nameless"]) == (2, 3, False)
    assert document.keys().isdisjoint({"id", "targets", "reach"})


def test_one_without_a_certificate_is_evicted_here_alone(ask: Any, agent: Agent) -> None:
    """No other machine could be told, so a person has to."""
    agent.receipt = replace(RECEIPT, targets=[], reach=QuorumResult())
    lines, status = ask("evict", "0123456789abcdef")
    assert "run the command on each machine that shows it" in lines[0]
    assert "revoked" not in lines[0]
    assert status == 0
    assert ask("evict", "0123456789abcdef", "--json")[0]["nameless"] is True


def test_fewer_than_asked_for_is_exit_status_3(ask: Any, agent: Agent) -> None:
    """As for `revoke`."""
    agent.receipt = replace(
        RECEIPT, reach=QuorumResult("quorum", 1, 3, 9.5, ["a", "b"], enough=False)
    )
    lines, status = ask("evict", "edge-2")
    assert status == 3
    assert lines[-1] == "that is less than a majority; this machine keeps sending it"


def test_another_key(ask: Any, agent: Agent) -> None:
    """From when it is used."""
    assert ask("keys", "rotate") == (["a new key exists; all machines use it in 2 min"], 0)
    assert ask("keys", "rotate", "--revoke-old") == (
        ["a new key is in use; all earlier keys are revoked"],
        0,
    )
    assert ask("keys", "rotate", "--json")[0] == {"keys": 2, "used_after_seconds": 120}
    assert agent.asked == [False, True, False]


def test_whoever_has_no_cluster_begins_none(run: Run, fresh: Path) -> None:
    """`serve --bootstrap` says that there is nothing to be the first machine of."""
    text = fresh.read_text()
    start, end = text.index("[cluster]"), text.index("[[listener]]")
    fresh.write_text(text[:start] + text[end:])
    done = run("serve", "-c", fresh, "--bootstrap")
    assert done.exit_code == 2
    assert "there is no [cluster] to bootstrap; leave --bootstrap out" in done.stderr
