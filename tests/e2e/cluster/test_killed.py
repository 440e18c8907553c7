"""Agents that are killed: what was acknowledged is dead afterwards, here and elsewhere."""

import random
import threading
from collections.abc import Iterator, Sequence

import pytest
from cluster_gateways import (
    SECONDS,
    Agent,
    View,
    acknowledged,
    agents,
    is_ready,
    new_branch,
    revoke_surely,
    views,
)
from installation import wait_until
from search_depth import deep

RUNS = deep(10)
STORM = 200
STARTS = 2  # of six orders


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Agent]]:
    """On one network; their tables outlive them."""
    with agents(tmp_path_factory.mktemp("three"), 3) as found:
        yield found


@pytest.fixture
def tables(three: list[Agent]) -> Iterator[list[View]]:
    """As processes of these machines have them."""
    with views(three) as found:
        yield found


def are_ready(machines: Sequence[Agent]) -> bool:
    return all(map(is_ready, machines))


def test_killed_directly_after_the_answer(three: list[Agent]) -> None:
    """On this disk is on this disk: it is dead here after the restart, and soon on the others.

    At the end its table goes too, as with another boot of the machine: only the disk knows then.
    """
    first, branches = three[0], []
    for number in range(RUNS):
        branches.append(new_branch())
        acknowledged(first, branches[-1], "local")
        first.kill()
        if number == RUNS - 1:
            (first.folder / "state" / "table").unlink()
        first.start()
        wait_until(lambda: is_ready(first), SECONDS)
    with views(three) as anew:
        assert all(map(anew[0].has, branches))
        for view in anew[1:]:
            wait_until(lambda: all(map(view.has, branches)), SECONDS)  # noqa: B023 -- ends here


def test_killed_in_a_storm(three: list[Agent], tables: list[View]) -> None:
    """What came meanwhile it has, before calls are admitted again."""
    first, second, third = three
    branches = [new_branch() for _ in range(STORM)]
    half = threading.Event()

    def storm(machine: Agent, some: Sequence[str]) -> None:
        for number, branch in enumerate(some):
            revoke_surely(machine, branch)
            if number == len(some) // 4:
                half.set()

    origins = [
        threading.Thread(target=storm, args=(machine, branches[at::2]))
        for at, machine in enumerate((first, second))
    ]
    for origin in origins:
        origin.start()
    half.wait(SECONDS)
    third.kill()
    third.start()
    for origin in origins:
        origin.join()
    wait_until(lambda: is_ready(third), SECONDS)
    wait_until(lambda: all(map(tables[2].has, branches)), SECONDS)
    assert all(map(tables[0].has, branches))


def test_all_end_and_start_in_any_order(three: list[Agent]) -> None:
    """No machine has to be told that there is nothing to catch up, and nothing is lost."""
    chance = random.Random(7)
    for _ in range(STARTS):
        branches = []
        for machine in three:
            branches.append(new_branch())
            acknowledged(machine, branches[-1], "local")
        for machine in three:
            machine.kill()
        for machine in three:
            (machine.folder / "state" / "table").unlink()
        for machine in chance.sample(three, k=3):
            machine.start()
        wait_until(lambda: are_ready(three), SECONDS)
        with views(three) as anew:
            for view in anew:
                wait_until(lambda: all(map(view.has, branches)), SECONDS)  # noqa: B023 -- ends here
