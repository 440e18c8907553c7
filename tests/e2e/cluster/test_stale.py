"""A whole gateway that cannot know what a majority does: what it admits then, and afterwards.

Three of them, on networks of their own where that can be; else on one, and nothing is cut.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from blocking_clients import OK, REVOKED, STALE, UNPAID, Caller, becomes, loopback
from cluster_gateways import (
    SECONDS,
    acknowledged,
    agent_of,
    gateways,
    is_ready,
    revoke,
    status,
    stopped,
)
from installation import Installation, wait_until
from network_namespaces import Place, missing, network

from crewgate.issuer import Orchestrator, SubAgent

OPEN = "/v1/embeddings"  # the tool there goes on where revocations may be missing


class Site(NamedTuple):
    """Machines, those who call them, and who mints; `places` only where there are some."""

    machines: list[Installation]
    callers: list[Caller]
    places: list[Place]
    article: Orchestrator

    def run(self) -> SubAgent:
        """One that all gateways admit."""
        run = self.article.start_run(credits="10", tools=["search.*", "embeddings.*"])
        for caller in self.callers:
            admits(caller, run)
            assert caller.call(run.token(), OPEN) == OK
        return run


def admits(caller: Caller, run: SubAgent) -> None:
    """Soon, as an agent of a busy machine may have been late a moment ago."""
    becomes(caller, run.token(), OK, STALE)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """They may be stale for a second."""
    folder: Path = tmp_path_factory.mktemp("three")
    with ExitStack() as stack:
        places = [] if missing() else stack.enter_context(network(3))
        machines = stack.enter_context(
            gateways(
                folder, 3, places=places,
                more="max_staleness_seconds = 1", tool='when_stale = "open"',
            )
        )  # fmt: skip
        ways = [place.connect for place in places] or [loopback] * 3
        callers = [Caller(*each) for each in zip(machines, ways, strict=True)]
        for caller in callers:
            stack.callback(caller.close)
        article = stack.enter_context(Orchestrator.from_config(machines[0].file, crew="article"))
        yield Site(machines, callers, places, article)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_cut_off_it_refuses_what_is_closed_and_comes_back_knowing(three: Site) -> None:
    """The majority goes on; what it revoked meanwhile is dead from the first verdict there."""
    dead, lives = three.run(), three.run()
    first, _, third = three.callers
    alone = three.places[2]
    try:
        alone.deafen(*three.places[:2])
        for place in three.places[:2]:
            place.deafen(alone)
        becomes(third, lives.token(), STALE, OK)
        for run in (dead, lives):
            assert third.call(run.token(), OPEN) == OK
        acknowledged(three.machines[0], dead.branch)
        assert first.call(dead.token()) == REVOKED
        admits(first, lives)
        assert third.call(dead.token()) == STALE
    finally:
        for place in three.places:
            place.mend()
    becomes(third, dead.token(), REVOKED, STALE)
    assert third.call(dead.token(), OPEN) == REVOKED
    admits(third, lives)


def test_alone_after_a_kill_it_waits_for_a_majority(three: Site) -> None:
    """The others do not answer: whoever starts then is not ready, however fresh its table was."""
    run = three.run()
    first, second, third = three.machines
    with stopped(first, second):
        before = agent_of(third)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: (found := status(third)) is not None and found.pid != before, SECONDS)
        becomes(three.callers[2], run.token(), STALE, OK)
        # Its worker may be on its way back to the agent, who alone brings credit.
        becomes(three.callers[2], run.token(), OK, STALE, UNPAID, path=OPEN)
        assert three.callers[2].call(run.token()) == STALE
        found = status(third)
        assert found is not None
        assert (found.ready, found.fresh) == (False, True)
        assert found.in_touch is not None
        assert (found.in_touch.compared, found.in_touch.needed) == (0, 1)
    for caller in three.callers:
        admits(caller, run)


def test_a_full_stop_and_a_start_in_another_order(three: Site) -> None:
    """All are ready without a word of anybody, and what was dead is dead."""
    dead, lives = three.run(), three.run()
    for machine in three.machines:
        revoke(machine, dead.branch)
        assert machine.stop() == 0
    for machine in reversed(three.machines):
        machine.start()
    for machine, caller in zip(three.machines, three.callers, strict=True):
        wait_until(lambda: is_ready(machine), SECONDS)  # noqa: B023 -- it ends here
        assert caller.call(dead.token()) == REVOKED
        admits(caller, lives)
