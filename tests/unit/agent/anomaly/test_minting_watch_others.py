"""The minting watches of several machines: what they tell one another, and what is made of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from agent_world import Hands, Start
from cluster_agent import Clustered
from grant_builders import grant
from watched_agent import ONE, QUOTA, Asking, by, hold, steps, watched

from crewgate import limits
from crewgate.agent import periodic
from crewgate.agent.anomaly.minting_watch import MintingWatch
from crewgate.agent.anomaly.remote_quarantines import to_gossip
from crewgate.agent.clock_monitor import ClockMonitor
from crewgate.agent.state import AgentState
from crewgate.agent.status import status
from crewgate.core.anomaly.enforcement import By, EnforcementLevel, EnforcementOrder
from crewgate.core.anomaly.types import WatchRules
from crewgate.core.audit.records import Record
from crewgate.core.gossip import capsules
from crewgate.core.gossip.capsules import LIFT, QUARANTINE, SUSPICION, RevocationEntry
from crewgate.core.ids import orchestrator_key
from crewgate.core.tokens.grant import Grant

STRICT = 'mode = "quarantine"\nmints_per_minute = 1\nstrikes = 1'
DAY = limits.quarantine_seconds
Revoke = Callable[[Sequence[RevocationEntry]], list[bytes]]


@pytest.fixture
def strict(file: Path) -> None:
    """One mint a minute is all that anybody has."""
    file.write_text(watched(STRICT))


def hear(
    machine: AgentState, kind: By, of: str = ONE, later: int = 0, *, is_news: bool = True
) -> None:
    """Another machine says so."""
    wall = machine.believed().wall
    word = EnforcementOrder(wall + later, kind, wall + DAY if kind else 0)
    entry = to_gossip("article", of, word)
    machine.minting_watch.remote.add(entry, "gateway/b", wall, is_news=is_news)


def held(machine: AgentState) -> list[tuple[str, str, str]]:
    """Who is, and by whom."""
    return [(row.orchestrator, row.in_force, row.by) for row in status(machine, 1).watched]


def look(machine: AgentState) -> None:
    """As once a second."""
    machine.minting_watch.poll(machine.clock.read(), lapses=True)


def burst(asking: Asking, orchestrator: str, first: int) -> str:
    """Two mints in a minute; what became of the second."""
    for number in (first, first + 1):
        answer = asking.draw(keyed(orchestrator, grant(number, QUOTA), number))
    return answer


def keyed(orchestrator: str, of: Grant, number: int) -> Grant:
    """The grant, signed with a key that is the orchestrator's alone: it is nobody's alias."""
    return msgspec.structs.replace(by(orchestrator, of, jti=str(number)), kid=orchestrator)


def test_what_a_person_says_on_another_machine_holds_here(
    start: Start, written: list[Record], log_lines: list[str]
) -> None:
    """From the next new grant on, though nobody here had seen the orchestrator; and lifts too."""
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    hear(machine, "owner")
    assert asking.draw(grant(1, QUOTA)) == "granted"
    assert asking.draw(grant(2, QUOTA)) == "held"
    assert held(machine) == [(ONE, "quarantine", "owner")]
    hear(machine, "", later=1)
    assert asking.draw(grant(2, QUOTA)) == "granted"
    assert held(machine) == []
    assert [(each.step, each.by) for each in steps(written)] == [
        ("set", "gateway/b"), ("lifted", "gateway/b"),
    ]  # fmt: skip
    assert log_lines[-1] == f"minting of {ONE} is released: a person ordered it on gateway/b"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_who_is_shown_as_held_is_let_go_at_once(start: Start, *, is_restarted: bool) -> None:
    """Whoever has lifted it elsewhere, or holds strangers, sees that here before the next grant."""
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    hear(machine, "owner")
    assert asking.draw(grant(2, QUOTA)) == "held"
    if is_restarted:
        machine.minting_watch.sync()
        machine = start()
    assert held(machine) == [(ONE, "quarantine", "owner")]
    hear(machine, "", later=1)
    hear(machine, "owner", "article/*")
    look(machine)
    assert held(machine) == [("article/*", "quarantine", "owner")]
    hear(machine, "", "article/*", later=1)
    look(machine)
    assert held(machine) == []
    hear(machine, "owner", "article/*", later=2)
    look(machine)
    assert held(machine) == [("article/*", "quarantine", "owner")]


@pytest.mark.parametrize("mode", ["observe", "throttle", "quarantine"])
def test_what_another_watch_has_found_holds_here_as_far_as_the_mode_goes(
    start: Start, file: Path, written: list[Record], log_lines: list[str], mode: str
) -> None:
    """A false alarm elsewhere takes nobody out where the watch may only look."""
    file.write_text(watched(f'mode = "{mode}"'))
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    hear(machine, "watch")
    asking.draw(grant(2, QUOTA))
    assert asking.draw(grant(3, QUOTA)) == ("granted" if mode == "observe" else "held")
    assert held(machine) == [(ONE, mode, "watch")]
    (step,) = steps(written)
    assert (step.step, step.by, step.in_force) == ("remote", "gateway/b", mode)
    assert log_lines[-1].endswith(": the watch of gateway/b ordered it")
    assert machine.minting_watch.take_announcements() == []


@pytest.mark.usefixtures("strict")
def test_a_machine_tells_of_its_own_once_and_of_nobody_elses(
    start: Start, file: Path, hands: Hands
) -> None:
    """Whoever heard of one before has nothing to tell when it finds the same; over a restart."""
    machine = start()
    asking = Asking(machine)
    hear(machine, "watch", "article/two")
    assert burst(asking, "article/two", 20) == "held"
    assert burst(asking, ONE, 10) == "held"
    machine = start()
    end = int(hands.wall // 10**9) + DAY
    (entry,) = machine.minting_watch.take_announcements()
    assert (entry.kind, entry.key) == (SUSPICION, orchestrator_key("article", ONE))
    assert entry.expires == end
    assert machine.minting_watch.take_announcements() == []
    machine.minting_watch.sync()
    assert start().minting_watch.take_announcements() == []


@pytest.mark.usefixtures("strict")
def test_two_watches_that_find_the_same_agree_on_the_later_end(start: Start) -> None:
    """Whoever was later has told it: there is nothing to add, now or after a restart."""
    machine = start()
    asking = Asking(machine)
    burst(asking, ONE, 10)
    hear(machine, "watch", later=60)
    asking.draw(grant(30, QUOTA))
    again = start()
    for one in (machine, again):
        assert one.minting_watch.take_announcements() == []
    (standing,) = again.minting_watch.states()
    assert standing.until == again.believed().wall + DAY
    (saved,) = [each for each in again.minting_watch if each.orchestrator == ONE]
    assert saved.watch.at == again.believed().wall + 60


@pytest.mark.usefixtures("strict")
def test_strangers_that_are_held_elsewhere_are_held_here(start: Start) -> None:
    """Whoever invents names goes on at no other gateway; those who are known go on."""
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    hear(machine, "watch", "article/*")
    assert asking.draw(by("article/new", grant(2, QUOTA), jti="2")) == "held"
    assert held(machine) == [("article/*", "quarantine", "watch")]


@pytest.mark.parametrize("is_news", [True, False])
def test_an_old_word_lets_nobody_go_whom_the_watch_throttles(
    start: Start, file: Path, *, is_news: bool
) -> None:
    """It was said before the agent began, and perhaps done then; what the watch saw came later."""
    file.write_text(watched('mode = "throttle"\nmints_per_minute = 1'))
    machine = start()
    asking = Asking(machine)
    for number in range(2):
        asking.draw(grant(number, QUOTA))
    before = held(machine)
    assert [each[2] for each in before] == ["watch"]
    hear(machine, "", is_news=is_news)
    asking.draw(grant(3, QUOTA))
    assert (held(machine) == before) is not is_news


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("by", ["owner", "watch"])
def test_who_is_let_go_unseen_is_held_by_no_older_word(start: Start, by: By) -> None:
    """Whether that came before its first grant here, or comes late: the lift was the last word."""
    machine = start()
    asking = Asking(machine)
    hear(machine, by)
    hear(machine, "", later=1)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    hear(machine, by)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    assert held(machine) == []


async def test_a_person_lifts_what_nobody_here_has_seen(start: Start) -> None:
    """The word came from another machine, and no grant since; and sets what is let go there."""
    machine = start()
    hear(machine, "watch")
    row = await hold(machine, lift=True)
    assert row.level == "observe"
    assert Asking(machine).draw(grant(1, QUOTA)) == "granted"
    hear(machine, "", later=9)
    await hold(machine)
    assert Asking(machine).draw(grant(2, QUOTA)) == "held"


def test_who_is_held_and_cannot_be_remembered_is_refused(start: Start) -> None:
    """Where the watch has no room for its name; what lives goes on, and room makes it known."""
    machine = start()
    asking = Asking(machine)
    assert asking.draw(grant(1, QUOTA)) == "granted"
    watching: MintingWatch = machine.minting_watch
    watching._detector._names_max = 0
    hear(machine, "watch", "article/two")
    live, new = by("article/two", grant(1, QUOTA)), by("article/two", grant(2, QUOTA), jti="2")
    assert asking.draw(live, 500) == "granted"
    assert asking.draw(new) == "held"
    assert asking.draw(new) == "held"
    watching._detector._names_max = 9
    assert held(machine) == []
    asking.draw(new)
    assert [each[0] for each in held(machine)] == ["article/two"]


def test_a_journal_of_before_there_were_ends_is_read(
    start: Start, file: Path, hands: Hands
) -> None:
    """Who was quarantined then stays so until a person says otherwise."""
    (file.parent / "state" / "watch").write_text(
        '{"crew":"article","orchestrator":"article/one","rung":"quarantine","by":"owner"}\n'
    )
    machine = start()
    periodic.extend_freshness(machine, ClockMonitor(hands.wall, hands.boot))
    periodic.tidy(machine)
    assert status(machine, 1).watched[0].until == 0
    assert Asking(machine).draw(grant(1, QUOTA)) == "held"


# As a member.


def listened(clustered: Clustered, monkeypatch: pytest.MonkeyPatch) -> list[RevocationEntry]:
    """What the others are told from now on."""
    entries: list[RevocationEntry] = []
    gossip = clustered.cluster.gossip

    def revoke(some: Sequence[RevocationEntry], then: Revoke = gossip.revoke) -> list[bytes]:
        entries.extend(some)
        return then(some)

    monkeypatch.setattr(gossip, "revoke", revoke)
    return entries


def runs_away(clustered: Clustered, orchestrator: str, first: int) -> None:
    """It mints twice in a minute."""
    machine = clustered.machine
    for number in (first, first + 1):
        of = grant(number, QUOTA, iat=machine.believed().wall)
        machine.minting_watch.admits(keyed(orchestrator, of, number), machine.clock.read())


@pytest.fixture
def watchful(clustered: Clustered) -> Clustered:
    """A member whose one crew may mint once a minute, and whose table is vouched for."""
    machine, strict = (
        clustered.machine,
        WatchRules(EnforcementLevel.QUARANTINE, mints_per_minute=1, strikes=1),
    )
    crew = msgspec.structs.replace(machine.active_config.config.crews[0], watch=strict)
    machine.minting_watch.load([crew], [])
    return clustered


async def test_the_tick_tells_the_others_and_a_person_does_at_once(
    watchful: Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the end as the entry's, and a lift that is later than what it lifts."""
    machine, entries = watchful.machine, listened(watchful, monkeypatch)
    wall = machine.believed().wall
    runs_away(watchful, ONE, 10)
    assert entries == []
    periodic.tidy(machine)
    periodic.tidy(machine)
    await hold(machine, "article/two", seconds=60)
    await hold(machine, lift=True)
    key, other = (orchestrator_key("article", each) for each in (ONE, "article/two"))
    assert [(each.kind, each.key, each.expires - each.before) for each in entries] == [
        (SUSPICION, key, DAY),
        (LIFT, other, limits.quarantine_seconds_max), (QUARANTINE, other, 60),
        (LIFT, key, limits.quarantine_seconds_max),
    ]  # fmt: skip
    assert entries[0].before == wall
    assert entries[1].before == entries[2].before
    assert entries[3].before > wall


async def test_an_end_that_was_moved_forward_stays_so(watchful: Clustered, start: Start) -> None:
    """The longer word that it has taken the place of lives on, and has nothing to say any more."""
    await hold(watchful.machine, seconds=limits.quarantine_seconds_max)
    await hold(watchful.machine, seconds=60)
    (watchful.machine.active_config.config.state / "watch").unlink()  # as where nobody has seen it
    watchful.hands.go(2 * limits.capsule_file_seconds)
    watchful.cluster._sockets.close()
    watchful.machine = machine = start()
    with watchful.begun(bootstrap=False):
        assert Asking(machine).draw(grant(1, QUOTA)) == "granted"


def test_what_is_heard_is_not_told_on(watchful: Clustered, monkeypatch: pytest.MonkeyPatch) -> None:
    """The capsule of who began it goes round; nobody makes another of it."""
    cluster, machine = watchful.cluster, watchful.machine
    entries, wall = listened(watchful, monkeypatch), cluster.wall()
    other = watchful.other("b")
    cluster.apply(
        [to_gossip("article", ONE, EnforcementOrder(wall, "watch", wall + DAY))], [other.id]
    )
    runs_away(watchful, ONE, 10)
    periodic.tidy(machine)
    assert held(machine) == [(ONE, "quarantine", "watch")]
    assert entries == []


def test_an_attacker_that_trips_the_watch_again_and_again_fills_no_wire(
    watchful: Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are held here, one capsule is told at once, and then one of them a minute."""
    machine, entries = watchful.machine, listened(watchful, monkeypatch)
    burst = limits.quarantine_announcements_burst
    for number in range(burst + 6):
        runs_away(watchful, f"article/{number}", 10 * number)
    assert len(held(machine)) == burst + 6
    counts = []
    for seconds in (0, 1, 59, 60):
        watchful.hands.go(seconds)
        periodic.tidy(machine)
        counts.append(len(entries))
    assert counts == [burst, burst, burst + 1, burst + 2]


def test_whose_word_nobody_takes_says_none(
    start: Start,
    hands: Hands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    """Without the right in its certificate it obeys; a person hears that the word stays here."""
    with Clustered(start, hands, tmp_path / "ca", ()).begun(bootstrap=True) as one:
        entries = listened(one, monkeypatch)
        wall = one.cluster.wall()
        one.cluster.pass_on(
            [to_gossip("article", ONE, EnforcementOrder(wall, "watch", wall + DAY))]
        )
        assert entries == []
        assert log_lines[-1].startswith(
            "a quarantine applies only on this machine: its certificate"
        )


def test_a_word_outlives_the_agent_that_heard_it(watchful: Clustered, start: Start) -> None:
    """Also if no grant of that orchestrator was seen meanwhile; and so does what lifts it."""
    cluster, wall = watchful.cluster, watchful.cluster.wall()
    words = [
        to_gossip("article", ONE, EnforcementOrder(wall, "watch", wall + DAY)),
        to_gossip("article", "article/two", EnforcementOrder(wall, "owner", wall + DAY)),
        to_gossip("article", "article/two", EnforcementOrder(wall + 1)),
    ]
    capsule = capsules.unsigned(b"another. epoch..", 1, wall, words)
    assert cluster.gossip.log.append([capsule.raw])
    cluster._sockets.close()
    watchful.machine = start()
    with watchful.begun(bootstrap=False):
        runs_away(watchful, ONE, 10)
        runs_away(watchful, "article/two", 20)
        (row,) = status(watchful.machine, 1).watched
        assert (row.orchestrator, row.by, row.until) == (ONE, "watch", wall + DAY)
