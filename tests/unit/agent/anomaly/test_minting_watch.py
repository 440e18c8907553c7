"""The minting watch in the agent: which draws are evidence, what is refused, what is told."""

from pathlib import Path

import msgspec
import pytest
import trio
from agent_world import Hands, S, Start
from grant_builders import NOW, branch_id, grant
from watched_agent import ONE, QUOTA, Asking, by, hold, refreshed, steps, watched

from crewgate import limits
from crewgate.agent import periodic
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.ipc_server.admin_session import may_mint, quarantine
from crewgate.agent.status import status
from crewgate.core.anomaly.types import WatchRules
from crewgate.core.audit import records
from crewgate.core.audit.records import Record
from crewgate.core.tokens.claims import PathElement
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import CheckMint, MintingWatchRow, Quarantine


def test_a_branch_counts_once_however_often_it_draws(
    start: Start, file: Path, written: list[Record]
) -> None:
    """More credit, the same token again, and an older one of the branch are no mints."""
    file.write_text(watched("mints_per_minute = 2\nextensions = 1"))
    asking = Asking(start())
    for _ in range(5):
        for number in (1, 2):
            assert asking.draw(grant(number, QUOTA), 100) == "granted"
    assert asking.draw(refreshed(1)) == "granted"
    assert asking.draw(grant(1, QUOTA)) == "granted"
    assert steps(written) == []


def test_what_crosses_on_a_certificate_is_no_evidence(start: Start, file: Path) -> None:
    """Nobody minted it: however many runs an orchestrator has on another crew's tools."""
    file.write_text(watched("mints_per_minute = 2"))
    machine = start()
    for number in range(20):
        crossed = grant(number, QUOTA, crew="article:finance")
        assert machine.minting_watch.admits(by(ONE, crossed), machine.clock.read())
    assert not len(machine.minting_watch)


def test_each_strike_is_an_audit_record_and_each_step_is_said(
    start: Start, file: Path, written: list[Record], log_lines: list[str]
) -> None:
    """With the measure, the value, the ceiling and the branch; nothing is done in observe mode."""
    file.write_text(watched("mints_per_minute = 2"))
    asking = Asking(start())
    log_lines.clear()
    for number in range(5):
        assert asking.draw(grant(number, QUOTA)) == "granted"
    (step,) = steps(written)
    assert step == records.WatchRecord(
        time=records.when(int(NOW * 1e9)),
        crew="article",
        orchestrator=ONE,
        step="strike",
        was="observe",
        level="throttle",
        in_force="observe",
        by="watch",
        branch=branch_id(2),
        measure="mints-per-minute",
        value=3,
        limit=2,
    )
    (sentence,) = log_lines
    assert sentence == (
        "minting of article/one would be throttled, but its crew's watch has mode observe: "
        "mints-per-minute 3; its ceiling is 2"
    )


def test_a_throttled_orchestrators_new_branches_are_refused_with_a_retry(
    start: Start, file: Path, hands: Hands
) -> None:
    """As a crew over its share; a refused one is let in later, and live ones never notice."""
    file.write_text(watched('mode = "throttle"\nmints_per_minute = 2'))
    asking = Asking(start())
    assert [asking.draw(grant(number, QUOTA)) for number in range(4)] == [
        "granted", "granted", "held", "held",
    ]  # fmt: skip
    assert asking.draw(grant(0, QUOTA), 500) == "granted"
    assert asking.draw(refreshed(0)) == "granted"
    hands.go(60)
    assert asking.draw(grant(2, QUOTA)) == "granted"
    assert asking.draw(grant(3, QUOTA)) == "held"
    assert asking.draw(grant(3, QUOTA, crew="bd")) == "closed"  # no such crew: not the watch's


def test_calm_is_seen_by_the_tick(
    start: Start, file: Path, hands: Hands, written: list[Record], log_lines: list[str]
) -> None:
    """A quarter of an hour later new branches are admitted again, and that is told."""
    file.write_text(watched('mode = "throttle"\nmints_per_minute = 1'))
    machine = start()
    asking = Asking(machine)
    for number in range(2):
        asking.draw(grant(number, QUOTA))
    hands.go(900)
    periodic.tidy(machine)
    assert [(each.step, each.level) for each in steps(written)] == [
        ("strike", "throttle"), ("calm", "observe"),
    ]  # fmt: skip
    assert log_lines[-1] == "minting of article/one is released: it has been calm for long enough"


async def test_a_quarantine_refuses_what_is_new_and_leaves_what_lives(
    start: Start, hands: Hands
) -> None:
    """Live branches draw and are refreshed; new, growing and waking ones are refused."""
    machine = start()
    asking = Asking(machine)
    for number in (1, 2):
        assert asking.draw(grant(number, QUOTA)) == "granted"
    assert asking.draw(by("article/two", grant(9, QUOTA), jti="9")) == "granted"
    row = await hold(machine)
    end = int(NOW) + limits.quarantine_seconds
    assert row == MintingWatchRow("article", ONE, "quarantine", "quarantine", "owner", end)
    assert asking.draw(grant(1, QUOTA), 500) == "granted"
    assert asking.draw(refreshed(1)) == "granted"
    assert asking.draw(refreshed(2, QUOTA + 1)) == "held"
    assert asking.draw(grant(3, QUOTA)) == "held"
    assert asking.draw(grant(4, 10, (1, QUOTA, None))) == "held"
    assert asking.draw(by("article/two", grant(5, QUOTA), jti="5")) == "granted"
    hands.go(3600)
    assert asking.draw(refreshed(1, after=3600)) == "held"
    assert (await hold(machine, lift=True)).level == "observe"
    assert asking.draw(refreshed(1, after=3600)) == "granted"


async def test_a_child_cannot_raise_its_run_past_a_quarantine(start: Start) -> None:
    """An element of a path with an `iat` counts as a grant of the ancestor."""
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    assert asking.draw(grant(2, 10, (1, QUOTA, int(NOW)))) == "granted"
    await hold(machine)
    again = grant(2, 10, (1, 5 * QUOTA, int(NOW) + 60), iat=int(NOW) + 60)
    assert asking.draw(by(ONE, again, jti="again")) == "held"
    same = grant(2, 10, (1, QUOTA, int(NOW)), iat=int(NOW) + 60)
    assert asking.draw(by(ONE, same, jti="same")) == "granted"


async def test_a_claim_for_more_than_the_ceiling_is_no_raise(start: Start, file: Path) -> None:
    """It counts as the ceiling, so that a live branch's refresh passes a quarantine."""
    text = watched().replace(
        'tools = ["search.*"]', 'tools = ["search.*"]\ncredits_per_branch = "2"'
    )
    machine = await trio.to_thread.run_sync(lambda: (file.write_text(text), start())[1])
    asking = Asking(machine)
    first = grant(2, QUOTA, (3, QUOTA, int(NOW)), (1, 9 * QUOTA, int(NOW)))
    assert asking.draw(first) == "granted"
    await hold(machine)
    again = grant(
        2, QUOTA, (3, QUOTA, int(NOW) + 9), (1, 8 * QUOTA, int(NOW) + 9), iat=int(NOW) + 9
    )
    assert asking.draw(by(ONE, again, jti="again")) == "granted"
    middle = grant(2, QUOTA, (3, QUOTA, None), (1, QUOTA, None), iat=int(NOW) + 10)
    assert asking.draw(by(ONE, middle, jti="middle")) == "granted"
    raised = grant(2, QUOTA, (3, QUOTA + 1, int(NOW) + 20), (1, 1, None), iat=int(NOW) + 20)
    assert asking.draw(by(ONE, raised, jti="raised")) == "held"


def test_a_runs_credits_count_once(start: Start, file: Path, written: list[Record]) -> None:
    """A child's are part of its root's, which counts also where only its child is ever seen."""
    file.write_text(watched('credits_per_hour = "3"'))
    asking = Asking(start())
    for number in range(2, 9):
        assert asking.draw(grant(number, QUOTA, (1, QUOTA, int(NOW)))) == "granted"
    asking.draw(grant(20, QUOTA))
    asking.draw(grant(30, QUOTA))
    assert steps(written) == []
    asking.draw(refreshed(20, 2 * QUOTA))
    (step,) = steps(written)
    assert (step.measure, step.value, step.limit) == (
        "micro-credits-per-hour",
        4_000_000,
        3_000_000,
    )


def test_breadth_is_counted_in_tools(start: Start, file: Path) -> None:
    """`search.*` is as wide as the tools that it covers now."""
    more = '[tool."search.{n}"]\nmethod = "POST"\npath = "/{n}"\nupstream = "local"\nprice = "1"\n'
    file.write_text(watched() + "".join(more.format(n=n) for n in range(70)))
    machine = start()
    wide = machine.minting_watch._observed(grant(1, QUOTA), None, machine.clock.read())
    narrow = by(ONE, grant(1, QUOTA), allowed_tools=["search.web", "search.none"])
    assert (wide.patterns, wide.tools) == (1, 71)
    assert machine.minting_watch._observed(narrow, None, machine.clock.read()).tools == 1


@pytest.fixture
def strict(file: Path) -> None:
    """One mint a minute is all that anybody has."""
    file.write_text(watched('mode = "quarantine"\nmints_per_minute = 1\nstrikes = 1'))


@pytest.mark.usefixtures("strict")
async def test_it_survives_a_restart(start: Start, file: Path) -> None:
    """What a person set, what the watch set, and what was lifted: as after `serve` is killed."""
    machine = start()
    asking = Asking(machine)
    asking.draw(grant(1, QUOTA))
    asking.draw(grant(2, QUOTA))
    await hold(machine, "article/two")
    await hold(machine, "article/three")
    await hold(machine, "article/three", lift=True)
    again, end = start(), int(NOW) + limits.quarantine_seconds
    assert status(again, 1).watched == [
        MintingWatchRow("article", ONE, "quarantine", "quarantine", "watch", end),
        MintingWatchRow("article", "article/two", "quarantine", "quarantine", "owner", end),
    ]
    asking = Asking(again)
    assert asking.draw(grant(3, QUOTA)) == "held"
    assert asking.draw(by("article/two", grant(4, QUOTA), jti="4")) == "held"
    assert asking.draw(by("article/three", grant(5, QUOTA), jti="5")) == "granted"
    assert asking.draw(grant(1, QUOTA), 500) == "granted"
    assert (file.parent / "state" / "watch").stat().st_mode & 0o777 == 0o600


def test_a_restart_does_not_count_live_branches_again(
    start: Start, file: Path, written: list[Record]
) -> None:
    """The registry knows them, so that a restarted agent sees no burst of mints."""
    file.write_text(watched("mints_per_minute = 3"))
    asking = Asking(start())
    for number in range(3):
        asking.draw(grant(number, QUOTA))
    asking = Asking(start())
    for number in range(3):
        assert asking.draw(grant(number, QUOTA), 500) == "granted"
        assert asking.draw(refreshed(number)) == "granted"
    assert steps(written) == []


def test_a_reboot_is_no_burst_of_mints(
    start: Start, file: Path, hands: Hands, written: list[Record]
) -> None:
    """What was minted before a new table began counts as live, and not as minted now."""
    file.write_text(watched('mode = "quarantine"\nmints_per_minute = 3\ncredits_per_hour = "5"'))
    asking = Asking(start())
    hands.go(10)
    for number in range(20):
        assert asking.draw(grant(number, QUOTA, iat=int(NOW) - 60)) == "granted"
    assert steps(written) == []
    new = [asking.draw(grant(number, QUOTA, iat=int(NOW) + 5)) for number in range(30, 34)]
    assert new == ["granted"] * 3 + ["held"]


def test_a_clock_that_is_set_means_nothing(
    start: Start, file: Path, hands: Hands, written: list[Record]
) -> None:
    """Minutes are those of the boot clock: a step neither begins one nor ends a calm."""
    file.write_text(watched('mode = "throttle"\nmints_per_minute = 2'))
    machine = start()
    hands.go(900)  # the table is no longer new
    asking = Asking(machine)
    asking.draw(grant(1, QUOTA))
    hands.wall += 1800 * 10**9
    asking.draw(grant(2, QUOTA, iat=int(NOW) + 2700))
    hands.wall -= 3600 * 10**9
    assert asking.draw(grant(3, QUOTA, iat=int(NOW) - 900)) == "held"
    periodic.tidy(machine)
    assert [each.level for each in steps(written)] == ["throttle"]


def test_a_new_configuration_is_in_force_at_once(start: Start, file: Path) -> None:
    """Who was only noted is quarantined once the mode says so."""
    file.write_text(watched("mints_per_minute = 1\nstrikes = 1"))
    machine = start()
    asking = Asking(machine)
    for number in range(3):
        assert asking.draw(grant(number, QUOTA)) == "granted"
    file.write_text(watched('mode = "quarantine"\nmints_per_minute = 1\nstrikes = 1'))
    machine.reload(machine.active_config.read_files())
    assert asking.draw(grant(7, QUOTA)) == "held"
    assert status(machine, 1).watched[0].in_force == "quarantine"


@pytest.mark.parametrize(
    ("crew", "orchestrator", "told"),
    [
        ("bd", "bd/one", "no crew 'bd'; configured are: article"),
        ("article", "article/ö", "is not an orchestrator's client_id, such as bd/bd-1"),
        ("article", "bd/*", "is not an orchestrator's client_id"),
        ("article", "", "is not an orchestrator's client_id"),
    ],
)
async def test_who_can_be_nobody_is_not_quarantined(
    start: Start, crew: str, orchestrator: str, told: str
) -> None:
    """The refusal says what is wrong with the name."""
    machine = start()
    with pytest.raises(ServiceRefusedError, match=told.replace("(", r"\(")):
        await quarantine(machine, Quarantine(id=1, crew=crew, orchestrator=orchestrator))
    assert status(machine, 1).watched == []


async def test_what_is_lifted_already_is_refused_and_what_is_set_has_a_new_end(
    start: Start,
) -> None:
    """A person may change their mind about how long."""
    machine = start()
    with pytest.raises(
        ServiceRefusedError, match="article/one: there is nothing to lift: this machine has never"
    ):
        await hold(machine, lift=True)
    ends = [(await hold(machine, "article/*", seconds=seconds)).until for seconds in (0, 90, 600)]
    assert [end - int(NOW) for end in ends] == [limits.quarantine_seconds, 90, 600]
    await hold(machine, "article/*", lift=True)
    with pytest.raises(
        ServiceRefusedError, match=r"article/\*: it is neither throttled nor quarantined"
    ):
        await hold(machine, "article/*", lift=True)


async def test_the_audit_and_the_log_name_the_person_who_ordered_it(
    start: Start, written: list[Record], log_lines: list[str]
) -> None:
    """Of the live page; of a command on this machine, they say that a person did."""
    machine = start()
    for who in ("", "person/ada"):
        for lift in (False, True):
            ask = Quarantine(id=1, crew="article", orchestrator="article/*", lift=lift, by=who)
            await quarantine(machine, ask)
    found = [each.by for each in written if isinstance(each, records.WatchRecord)]
    assert found == ["owner", "owner", "person/ada", "person/ada"]
    told = [line.rpartition(": ")[2] for line in log_lines if line.startswith("minting of")]
    assert told == ["a person ordered it"] * 2 + ["person/ada ordered it"] * 2


def test_it_lapses_on_a_clock_that_can_be_believed(
    start: Start, file: Path, hands: Hands, written: list[Record], log_lines: list[str]
) -> None:
    """Over a restart, and not by a clock that jumps, nor while others may know better."""
    rules = 'mode = "quarantine"\nmints_per_minute = 1\nstrikes = 1\nquarantine_seconds = 3600'
    file.write_text(watched(rules))
    asking = Asking(start())
    for number in range(2):
        asking.draw(grant(number, QUOTA))
    hands.go(3590)
    machine = start()
    (row,) = status(machine, 1).watched
    assert row.until == int(NOW) + 3600
    watch = ClockMonitor(hands.wall, hands.boot)
    hands.wall += 60 * S
    periodic.extend_freshness(machine, watch)
    periodic.tidy(machine)
    assert len(status(machine, 1).watched) == 1
    hands.wall -= 60 * S
    hands.go(10)
    machine.table.extend_freshness(hands.boot + S, 0)
    periodic.tidy(machine)
    assert len(status(machine, 1).watched) == 1
    periodic.extend_freshness(machine, watch)
    periodic.tidy(machine)
    assert status(machine, 1).watched == []
    assert (steps(written)[-1].step, steps(written)[-1].level) == ("lapsed", "observe")
    assert log_lines[-1] == "minting of article/one is released: its quarantine has ended"
    late = by(ONE, grant(5, QUOTA, iat=int(NOW) + 3500), jti="late")
    assert Asking(machine).draw(late) == "granted"
    assert status(start(), 1).watched == []


def test_status_tells_a_bounded_number(start: Start, file: Path) -> None:
    """And how many there are besides."""
    machine = start()
    for number in range(70):
        machine.minting_watch.set("article", f"article/{number}", machine.clock.read())
    answer = status(machine, 1)
    assert (len(answer.watched), answer.watched_more) == (64, 6)


async def test_the_token_endpoint_asks_before_it_hands_a_grant_out(
    start: Start, written: list[Record]
) -> None:
    """Its mints count, their first use does not count again, and a quarantine refuses them."""
    machine = start()
    rules = WatchRules(mints_per_minute=2)
    crew = msgspec.structs.replace(machine.active_config.config.crews[0], watch=rules)
    machine.minting_watch.load([crew], [])
    asking = Asking(machine)
    for number in (1, 2):
        of = grant(number, QUOTA)
        ask = CheckMint(id=1, crew="article", kid=of.kid, claims=of.claims)
        assert may_mint(machine, ask).admitted
        assert asking.draw(of) == "granted"
    assert steps(written) == []
    await hold(machine)
    ask = CheckMint(id=2, crew="article", kid="kid", claims=grant(3, QUOTA).claims)
    assert not may_mint(machine, ask).admitted
    assert may_mint(
        machine, CheckMint(id=3, crew="article", kid="kid", claims=refreshed(1).claims)
    ).admitted


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"execution_branch_id": "nonsense"}, "not a grant"),
        ({"branch_path": [PathElement("nonsense", 5)]}, "not a grant"),
        ({"client_id": "a b"}, "is not an orchestrator's client_id"),
    ],
)
def test_what_is_no_grant_is_refused(start: Start, claims: dict[str, object], told: str) -> None:
    """Nothing is counted."""
    bad = msgspec.structs.replace(grant(1, QUOTA).claims, **claims)
    with pytest.raises(ServiceRefusedError, match=told):
        may_mint(start(), CheckMint(id=1, crew="article", kid="kid", claims=bad))
