"""Real gateways: who they are to each other, their key, one evicted, and the first of all."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_configs import (
    STALENESS,
    answer,
    begin,
    counted,
    gateways,
    name_of,
    said,
    stands,
    token_of,
)
from installation import Installation, wait_until

EVICTED = "readmission: this machine was evicted; to rejoin, it needs a new certificate"
OUT_OF_TOUCH = (
    "any missing revocations: this machine has compared with 0 of 1 other machine in the "
    f"last {STALENESS} s, and needs 1; unresponsive: "
)
FIRST = (
    "no peer could be joined: 127.0.0.1:9 (Connection refused); start the first machine of "
    "a cluster once with `crewgate serve"
)


def states(machine: Installation) -> dict[str, str]:
    """Of all machines, as one of them sees them."""
    return {row["name"]: row["state"] for row in machine.ask("cluster", "members")["members"]}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """The tests that follow go on where the last one has left them."""
    with gateways(tmp_path_factory.mktemp("three"), 3) as machines:
        yield machines


def test_each_says_who_there_is_and_how_it_stands(three: list[Installation]) -> None:
    """All see the same machines, and themselves among them."""
    names = [name_of(machine) for machine in three]
    for machine, name in zip(three, names, strict=True):
        assert states(machine) == {each: "here" if each == name else "alive" for each in names}
        told = machine.ask("cluster", "status")
        assert (told["waiting_for"], told["log_complete"], told["keys"] > 0) == ("", True, True)
        assert (told["in_touch"]["members"], told["in_touch"]["needed"]) == (3, 1)
        assert told["received"] > 0 < told["sent"]
    assert three[0].ask("status")["in_touch"]["members"] == 3
    assert "cluster        3 machines; compared with " in three[0].run("status")


def test_another_key_is_taken_up_by_all(three: list[Installation]) -> None:
    """One that ends the others is used at once, and what is revoked under it all hear of."""
    first = three[0]
    early = said(first, "cluster", "keys", "rotate")
    assert early.returncode == 2
    assert "the last key is not in use yet" in early.stderr
    before = max(stands(each).keys for each in three)
    assert first.run("cluster", "keys", "rotate", "--revoke-old").startswith("a new key is in use")
    wait_until(lambda: all(stands(each).keys > before for each in three))
    branch = "018f0000-0000-7000-8000-000000000001"
    receipt = first.ask("revoke", branch, "--crew", "article", "--until", "all")
    assert (receipt["applied_on"], receipt["of"]) == (3, 3)
    assert (receipt["never_seen"], receipt["never_seen_on"]) == ("everywhere", 3)  # all were asked


def test_one_that_is_forgotten_refuses_calls_and_does_not_come_back(
    three: list[Installation],
) -> None:
    """Once it is out of touch; with its certificate nobody lets it in, whatever it does."""
    first, second, third = three
    name, token = name_of(third), token_of(first)
    assert answer(third, token)[0] == 200
    forgotten = said(second, "cluster", "evict", name, "--json")
    # A busy machine may acknowledge it later than the command waits for.
    assert forgotten.returncode == (0 if json.loads(forgotten.stdout)["enough"] else 3)
    wait_until(lambda: [counted(first), counted(second)] == [2, 2])
    wait_until(lambda: answer(third, token)[0] == 503)
    assert "revocation-unavailable" in answer(third, token)[1]
    assert third.stop() == 0
    begin(third)
    wait_until(lambda: stands(third).waiting_for.startswith(EVICTED))
    assert EVICTED in " ".join(said(third, "status").stdout.split())
    assert [answer(each, token)[0] for each in three] == [200, 200, 503]
    assert name not in states(first)
    assert {row["name"]: row["status"] for row in first.ask("ca", "list")}[name] == "evicted"
    again = said(second, "cluster", "evict", name)
    assert again.returncode == 2
    assert "was evicted before" in again.stderr


def test_where_no_majority_is_left_a_person_has_the_word(three: list[Installation]) -> None:
    """Without it, the one of two that is left can neither admit nor decide."""
    first, second, _ = three
    name, token = name_of(second), token_of(first)
    assert second.stop() == 0
    wait_until(lambda: states(first)[name] != "alive")
    wait_until(lambda: stands(first).waiting_for == f"{OUT_OF_TOUCH}{name}")
    refused = said(first, "cluster", "evict", name)
    assert refused.returncode == 2
    assert "use --force on each remaining machine" in refused.stderr
    forced = said(first, "cluster", "evict", name, "--force")
    assert forced.returncode == 0
    assert "run the command on each remaining machine" in forced.stdout
    assert list(states(first).values()) == ["here"]
    wait_until(lambda: answer(first, token)[0] == 200)


def test_the_first_machine_of_all_is_told_so_once(tmp_path: Path) -> None:
    """A disk that knows nothing waits for peers; a person's word is for one start of the agent."""
    machine = Installation(tmp_path, workers=1)
    try:
        shutil.rmtree(machine.folder / "state" / "gossip")
        text = machine.file.read_text().replace("peers = []", 'peers = ["127.0.0.1:9"]')
        url = 'url = "sqlite:state/ledger.db"'
        machine.file.write_text(text.replace(url, f"{url}\nper_machine = true"))
        begin(machine)
        wait_until(lambda: FIRST in " ".join(said(machine, "status").stdout.split()))
        assert said(machine, "status").returncode == 2
        machine.stop()
        begin(machine, "--bootstrap")
        machine.run("status", "--wait", "100")
        (agent,) = machine.children("agent")
        assert b"--bootstrap" in Path(f"/proc/{agent}/cmdline").read_bytes()
        os.kill(agent, signal.SIGKILL)
        wait_until(lambda: machine.children("agent") not in ([], [agent]))
        machine.run("status", "--wait", "100")
        (agent,) = machine.children("agent")
        assert b"--bootstrap" not in Path(f"/proc/{agent}/cmdline").read_bytes()
    finally:
        machine.end()
