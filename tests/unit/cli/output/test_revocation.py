"""What `revoke` says of what it did."""

import json

import click
import msgspec
import pytest
from click.testing import CliRunner
from revocation_targets import branch

from crewgate.cli.output.revocation import (
    exit_by_reach,
    show,
)
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_messages import NeverSeen, QuorumResult, RevocationReceipt
from crewgate.ipc.receipt_text import never_seen_lines, reach_lines

BRANCH = branch("0199c1d2-0000-7000-8000-000000000002", "article")
RECEIPT = RevocationReceipt(
    id=1,
    targets=[BRANCH],
    read_ns=1,
    last_cut_ns=3_000_001,
    cut_ms=3.0,
    calls_cut=1,
    attachments=3,
    unresponsive=0,
)


def test_a_receipt_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """How many calls were cut and how fast; who did not answer; what it was widened to."""
    show(RECEIPT, as_json=False)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"revoked {BRANCH.name} of crew article and all below it: ")
    assert line.endswith(": 1 open call cut within 3.0 ms")
    worse = msgspec.structs.replace(RECEIPT, calls_cut=0, unresponsive=1, coarsened=True)
    show(worse, as_json=False)
    first, coarse, missing = capsys.readouterr().out.splitlines()
    assert first.endswith("no call was open at the gateway")
    assert "share of revocations" in coarse
    assert missing.startswith("1 of 3 attached processes did not answer")


def test_how_many_machines_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    """And who has not said so; fewer than were asked for is an exit status of its own."""
    reach = QuorumResult("quorum", applied_on=2, of=3, ms=7.41, missing=["gw-2"])
    show(msgspec.structs.replace(RECEIPT, reach=reach), as_json=False)
    _, disks = capsys.readouterr().out.splitlines()
    assert disks == "on the disks of 2 of 3 machines after 7.4 ms"
    few = msgspec.structs.replace(reach, until="all", enough=False)

    @click.command()
    def command() -> None:
        show(msgspec.structs.replace(RECEIPT, reach=few), as_json=False)

    result = CliRunner().invoke(command)
    assert result.exit_code == 3
    assert "no answer yet from: gw-2\n" in result.output
    assert result.output.endswith("that is not all of them; this machine keeps sending it\n")
    nobody = reach_lines(QuorumResult("quorum", of=3, enough=False))
    assert nobody[1] == "no other machine was reachable"


def test_a_receipt_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """Every member but the link's own, and but those that mean nothing where it is read."""
    members = msgspec.to_builtins(RECEIPT)
    show(RECEIPT, as_json=True)
    here = json.loads(capsys.readouterr().out)
    members |= members.pop("reach")
    members["streams_cut"] = members.pop("calls_cut")
    members |= {"branch": BRANCH.name, "crew": "article"}
    assert here == {k: v for k, v in members.items() if k not in {"type", "id", "targets"}}
    show(RECEIPT, as_json=True, without=("read_ns", "last_cut_ns"))
    there = json.loads(capsys.readouterr().out)
    assert here == there | {"read_ns": 1, "last_cut_ns": 3_000_001}


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        (EntityKind.GRANT, "g-1", "revoked grant g-1 of crew article"),
        (
            EntityKind.PROCESS,
            "pid_7",
            "revoked all tokens of process pid_7 of crew article issued up to 5 s from now",
        ),
        (
            EntityKind.CREW,
            "article",
            "revoked all tokens of crew article issued up to 5 s from now",
        ),
    ],
)
def test_tokens_are_no_branch(
    capsys: pytest.CaptureFixture[str], kind: EntityKind, name: str, says: str
) -> None:
    """Nothing is below them; and a document has them under their own names."""
    receipt = msgspec.structs.replace(RECEIPT, targets=[RevocationTarget(kind, name, "article")])
    show(receipt, as_json=False)
    assert capsys.readouterr().out == f"{says}: 1 open call cut within 3.0 ms\n"
    show(receipt, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document[kind.label], document["crew"]) == (name, "article")
    assert document.keys().isdisjoint({"branch", "target", "name"})


def test_a_subject_of_all_crews_is_no_crew_s(capsys: pytest.CaptureFixture[str]) -> None:
    """If the share of one crew was full, the receipt says that later tokens are still good."""
    target = RevocationTarget(EntityKind.SUBJECT, "corp:ada")
    show(msgspec.structs.replace(RECEIPT, targets=[target], calls_cut=0), as_json=False)
    said = capsys.readouterr().out
    revoked = "revoked subject corp:ada of all crews: ended"
    assert said == f"{revoked} no live run; no call was open at the gateway\n"
    for runs, words in ((1, "1 live run"), (3, "3 live runs")):
        found = msgspec.structs.replace(RECEIPT, targets=[target], runs_ended=runs)
        show(found, as_json=False)
        assert f"{revoked} {words}; 1 open call" in capsys.readouterr().out
        show(msgspec.structs.replace(found, runs_unasked=runs), as_json=False)
        assert f"{words}, and perhaps more on {runs} machine" in capsys.readouterr().out
    own = msgspec.structs.replace(target, crew="article")
    show(msgspec.structs.replace(RECEIPT, targets=[own], coarsened=True), as_json=False)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "later tokens of subject corp:ada are still good: revoke it again without --crew"
    )


@pytest.mark.parametrize(
    ("never_seen", "on", "machines", "said"),
    [
        ("", 0, 3, []),
        ("everywhere", 1, 1, ["the name is unknown to this machine"]),
        ("everywhere", 3, 3, ["the name is unknown to all 3 machines"]),
        ("here", 2, 3, ["the name is unknown to 2 of 3 machines (the others did not answer)"]),
    ],
)
def test_a_name_that_nobody_knows_is_said(
    never_seen: NeverSeen, on: int, machines: int, said: list[str]
) -> None:
    """And that it is done all the same; with an exit status of its own, unless too few have it."""
    lines = never_seen_lines(never_seen, on, machines)
    assert [line.partition(": is it")[0] for line in lines] == said

    @click.command()
    def command() -> None:
        exit_by_reach(QuorumResult(of=machines, enough=machines != 1), never_seen)

    status = 3 if machines == 1 else 4 if never_seen else 0
    assert CliRunner().invoke(command).exit_code == status
