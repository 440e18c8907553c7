"""The minting watch of several gateways: what one finds, all obey; and one lift is for all."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest
from blocking_clients import HELD, OK, Caller
from cluster_gateways import SECONDS, agent_of, gateways, is_ready, owner_of
from command_process import crewgate
from installation import Installation, wait_until, watched_minute

from crewgate.issuer import Orchestrator, SubAgent

WATCH = """
[crew.article.watch]
mode = "{mode}"
{more}
"""
STRICT = WATCH.format(mode="quarantine", more="mints_per_minute = 5\nstrikes = 1")
# Without a ceiling, and too young for a habit: it finds nothing by itself.
BLIND = WATCH.format(mode="quarantine", more="")
LOOKS_ON = WATCH.format(mode="observe", more="")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """One that watches, one that only obeys, and one that obeys persons alone."""
    with gateways(tmp_path_factory.mktemp("three"), 3) as found:
        for machine, text in zip(found, (STRICT, BLIND, LOOKS_ON), strict=True):
            machine.file.write_text(machine.file.read_text() + text)
            with owner_of(machine) as owner:
                owner.reload()
        yield found


def a_run(article: Orchestrator) -> SubAgent:
    return article.start_run(credits="1", tools=["search.*"])


def test_who_mints_wildly_goes_on_at_no_other_gateway(three: list[Installation]) -> None:
    """Live branches do. A restart changes nothing; a person lifts it where it was never seen."""
    first, second, third = three
    with ExitStack() as stack:
        near, far, other = callers = [Caller(machine) for machine in three]
        for caller in callers:
            stack.callback(caller.close)
        for number in count():
            began = watched_minute()
            article = stack.enter_context(
                Orchestrator.from_config(first.file, crew="article", name=f"wild-{number}")
            )
            live = a_run(article)
            name = live.claims.client_id
            assert far.call(live.token()) == OK
            answers = [near.call(a_run(article).token()) for _ in range(7)]
            if watched_minute() == began:
                break
            crewgate("quarantine", "-c", first.file, name, "--lift")
        assert answers == [OK] * 5 + [HELD] * 2
        wait_until(lambda: far.call(a_run(article).token()) == HELD, SECONDS)
        assert far.call(live.token()) == OK
        assert far.call(article.refresh(live.branch)) == OK

        (found,), (heard,) = (machine.ask("status")["watched"] for machine in (first, second))
        assert heard == found
        assert (heard["orchestrator"], heard["in_force"], heard["by"]) == (
            name, "quarantine", "watch",
        )  # fmt: skip
        steps = second.ask("audit", "--watch", "--local")["watch"]
        (step,) = (each for each in steps if each["orchestrator"] == name)
        assert step["step"] == "remote"
        assert step["by"].startswith("gateway/")

        os.kill(agent_of(second), signal.SIGKILL)
        wait_until(lambda: is_ready(second), SECONDS)
        waits = a_run(article)
        wait_until(lambda: far.call(waits.token()) == HELD, SECONDS)

        assert "not quarantined; it can start branches again" in third.run(
            "quarantine", name, "--lift"
        )
        assert other.call(a_run(article).token()) == OK
        for caller in (far, near):
            wait_until(lambda: caller.call(waits.token()) == OK, SECONDS)  # noqa: B023 -- at once
        assert [machine.ask("status")["watched"] for machine in three] == [[], [], []]


def test_what_a_person_sets_on_one_holds_on_all_for_as_long(three: list[Installation]) -> None:
    """Whatever the mode of each; another end moves it everywhere."""
    with ExitStack() as stack:
        article = stack.enter_context(
            Orchestrator.from_config(three[0].file, crew="article", name="calm")
        )
        name = a_run(article).claims.client_id
        for duration in ("7d", "1h"):
            row = three[1].ask("quarantine", name, "--for", duration)
            for machine in three:
                caller = Caller(machine)
                stack.callback(caller.close)
                _held(machine, caller, article, row["until"])
        three[2].run("quarantine", name, "--lift")
        waits = a_run(article)
        for machine in three:
            caller = Caller(machine)
            stack.callback(caller.close)
            wait_until(lambda: caller.call(waits.token()) == OK, SECONDS)  # noqa: B023 -- at once


def _held(machine: Installation, caller: Caller, article: Orchestrator, until: int) -> None:
    def is_so() -> bool:
        if caller.call(a_run(article).token()) != HELD:
            return False
        (row,) = machine.ask("status")["watched"]
        return bool(row["by"] == "owner" and row["until"] == until)

    wait_until(is_so, SECONDS)
