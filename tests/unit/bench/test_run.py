"""A run goes on where a group fails, and ends where it is told to."""

from pathlib import Path

import pytest

from bench.hop.__main__ import attempt
from bench.hop.arena import Arena
from bench.hop.figures import Measured
from bench.hop.groups.group import Group
from bench.hop.stage import Servers, Stage


class Bare(Arena):
    """Nothing stands in it."""

    def begin(self, rounds: int, requests: int) -> None:
        self.rounds, self.requests = rounds, requests


@pytest.fixture
def arena() -> Arena:
    place, servers = Path("nowhere"), Servers(1, 2, 3)
    stage = Stage(place, 4, servers, upload_bytes=5, h2=False)
    return Bare(place, place, set(), servers, stage, skipped={"Envoy": "not here"})


def test_a_group_without_figures_says_why(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are measured all the same."""

    def fail(_: Arena) -> list[Measured]:
        raise SystemExit("bench: 3 of 10 requests were refused")

    assert attempt(Group("doomed", "", fail), arena, 1, 10) is None
    assert capsys.readouterr().err == "Without doomed: bench: 3 of 10 requests were refused\n"


def test_whoever_ends_the_run_ends_it(arena: Arena) -> None:
    """SIGTERM is no failure of a group."""

    def told(_: Arena) -> list[Measured]:
        raise SystemExit(143)

    with pytest.raises(SystemExit, match="143"):
        attempt(Group("any", "", told), arena, 1, 10)


def test_what_is_left_out_of_a_group_is_said_beside_who_is_not_here(arena: Arena) -> None:
    """Each with its reason, and the sizes that were measured."""

    def leave(inside: Arena) -> list[Measured]:
        inside.left_out = {"nginx": "cannot"}
        return []

    found = attempt(Group("some", "", leave, rounds=0.5, requests=2.0), arena, 4, 10)
    assert found is not None
    assert found.skipped == {"Envoy": "not here", "nginx": "cannot"}
    assert (found.rounds, found.requests) == (2, 20)
