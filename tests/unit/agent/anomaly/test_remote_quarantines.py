"""What other machines say of orchestrators: the last words count, and are said once."""

from itertools import permutations

import pytest

from crewgate import limits
from crewgate.agent.anomaly.remote_quarantines import (
    QuarantineOutbox,
    RemoteOrder,
    RemoteQuarantines,
    to_gossip,
)
from crewgate.core.anomaly.enforcement import EnforcementOrder
from crewgate.core.gossip.capsules import LIFT, QUARANTINE, SUSPICION, RevocationEntry
from crewgate.core.ids import crew_key, orchestrator_key

WALL = 1_800_000_000
DAY = 86_400
BD = ("bd", "bd/bd-1")
HELD = EnforcementOrder(WALL, "owner", WALL + DAY)
SUSPECTED = EnforcementOrder(WALL, "watch", WALL + DAY)
LET_GO = EnforcementOrder(WALL + 1)


def abroad() -> RemoteQuarantines:
    """On a machine of two crews."""
    made = RemoteQuarantines()
    made.load(["bd", "article"])
    return made


def hear(
    heard: RemoteQuarantines, *words: EnforcementOrder, of: tuple[str, str] = BD, wall: int = WALL
) -> None:
    """From one machine."""
    for word in words:
        heard.add(to_gossip(*of, word), "gateway/b", wall)


def of(
    heard: RemoteQuarantines, name: tuple[str, str] = BD, wall: int = WALL
) -> list[EnforcementOrder]:
    """What holds, or lets go."""
    return [each.order for each in heard.of(*name, wall)]


@pytest.mark.parametrize("word", [HELD, SUSPECTED, LET_GO])
def test_a_word_arrives_as_it_was_said(word: EnforcementOrder) -> None:
    """With its end, and who said it; that one is let go is remembered for longer than any hold."""
    heard = abroad()
    hear(heard, word)
    (found,) = heard.of(*BD, WALL)
    expires = word.until or WALL + 1 + limits.quarantine_seconds_max
    assert found == RemoteOrder(word, "gateway/b", True, crew_key("bd"), expires)
    assert list(heard.of(*BD, expires)) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([HELD, LET_GO], [LET_GO]),
        ([HELD, LET_GO, HELD._replace(at=WALL + 2)], [HELD._replace(at=WALL + 2)]),
        ([HELD, LET_GO._replace(at=WALL)], [HELD]),
        ([HELD, HELD._replace(until=WALL + 5), SUSPECTED], [HELD, SUSPECTED]),
        ([SUSPECTED, LET_GO, SUSPECTED._replace(at=WALL - 1)], [LET_GO, SUSPECTED]),
    ],
)
def test_the_last_words_count_in_whatever_order_they_come(
    words: list[EnforcementOrder], found: list[EnforcementOrder]
) -> None:
    """A person's first, then a watch's; once they were done they are not said again."""
    for order in permutations(words):
        heard = abroad()
        hear(heard, *order)
        assert of(heard, ("bd", "bd/bd-2")) == of(heard, ("finance", "bd/bd-1")) == []
        assert of(heard) == found
        heard.done(*BD, WALL)
        assert of(heard) == []


def test_nobody_is_held_for_longer_than_may_be_whatever_an_origin_says() -> None:
    """From its own time on: whoever is let go later is so for longer than it could be held."""
    heard = abroad()
    hear(heard, EnforcementOrder(WALL, "watch", 2 * WALL))
    end = WALL + limits.quarantine_seconds_max
    assert of(heard) == [EnforcementOrder(WALL, "watch", end)]
    hear(heard, EnforcementOrder(WALL + 1))
    assert of(heard, wall=end - 1) == [
        EnforcementOrder(WALL + 1),
        EnforcementOrder(WALL, "watch", end),
    ]
    assert of(heard, wall=end) == [EnforcementOrder(WALL + 1)]


LATER = WALL + limits.clock_distrust_seconds + 1
LIE = EnforcementOrder(LATER, "owner", LATER + DAY)


def test_what_is_said_in_a_time_to_come_stands_against_nothing() -> None:
    """Nobody could say a later word. It counts once that time has come, if nothing else does."""
    heard = abroad()
    hear(heard, LIE._replace(at=LATER + 1), LIE)
    assert of(heard) == []
    heard.done(*BD, WALL)
    assert of(heard, wall=WALL + 2) == [LIE._replace(at=LATER + 1)]
    for order in permutations([LIE, LET_GO]):
        heard = abroad()
        hear(heard, *order)
        assert of(heard) == of(heard, wall=WALL + 2) == [LET_GO]


def test_what_does_not_count_at_a_time_is_not_done_then() -> None:
    """A clock that is ahead for a moment has nobody forget what holds."""
    heard = abroad()
    hear(heard, HELD)
    assert of(heard, wall=WALL + DAY) == []
    heard.done(*BD, WALL + DAY)
    assert of(heard) == [HELD]


def test_a_time_to_come_takes_no_place_and_lets_no_crew_go() -> None:
    """Where there is no room: what one lies about makes some, or holds the crew from now on."""
    heard = abroad()
    fill(heard, "bd", MOST // 2 - 1)
    hear(heard, LIE, of=("bd", "bd/lie"))
    hear(heard, HELD)
    assert of(heard) == [HELD]
    lie = LIE._replace(at=2 * WALL, until=2 * WALL + DAY)
    hear(heard, lie, of=("bd", "bd/more"), wall=WALL + 1)
    until = LATER + limits.quarantine_seconds_max
    assert of(heard, ("bd", "bd/other"), WALL + 1) == [EnforcementOrder(LATER, "owner", until)]


MOST = limits.remote_quarantines_max


def fill(heard: RemoteQuarantines, crew: str, count: int, until: int = WALL + DAY) -> None:
    """With names that nobody sees."""
    for number in range(count):
        hear(heard, EnforcementOrder(WALL, "watch", until), of=(crew, f"{crew}/{number}"))


def test_where_there_is_no_room_the_whole_crew_is_held(log_lines: list[str]) -> None:
    """From half of it on; the other crew has its half. It is said once, and ends with the last."""
    heard = abroad()
    fill(heard, "bd", MOST // 2)
    assert log_lines == []
    other = ("article", "article/one")
    for later in (0, 7, 3):
        end = WALL + DAY + later
        hear(heard, EnforcementOrder(WALL + later, "watch", end), of=("bd", f"bd/more-{later}"))
    hear(heard, HELD, of=other)
    all_of_bd = EnforcementOrder(WALL + 7, "watch", WALL + DAY + 7)
    assert of(heard) == [all_of_bd]
    heard.done(*BD, WALL)
    assert of(heard) == [all_of_bd]
    assert of(heard, ("bd", "bd/5")) == [SUSPECTED, all_of_bd]
    assert of(heard, other) == [HELD]
    assert of(heard, wall=WALL + DAY + 7) == []
    (sentence,) = log_lines
    assert sentence == (
        "no room for another quarantine of an orchestrator of crew bd, ordered by gateway/b: all "
        "orchestrators of the crew are quarantined until its end; lift by name those that must go "
        "on"
    )


def test_what_is_known_changes_without_room(log_lines: list[str]) -> None:
    """Who is let go is not held by its name; a lift of nobody's takes no place then."""
    heard = abroad()
    fill(heard, "bd", MOST // 2 - 1)
    hear(heard, HELD)
    hear(heard, LET_GO)
    hear(heard, LET_GO, of=("bd", "bd/none"))
    assert of(heard) == [LET_GO]
    assert log_lines == []
    hear(heard, LET_GO, of=("article", "article/none"))
    assert of(heard, ("article", "article/none")) == [LET_GO]


def test_what_is_over_or_done_makes_room(log_lines: list[str]) -> None:
    """Looked for once a second at most, for it looks at all."""
    heard = abroad()
    fill(heard, "bd", MOST // 2, WALL + 60)
    hear(heard, LET_GO)
    assert of(heard) == []
    heard.done("bd", "bd/0", WALL)
    hear(heard, HELD)
    assert of(heard) == [HELD]
    hear(heard, HELD, of=("bd", "bd/new"), wall=WALL + 60)
    assert log_lines == []
    assert (len(heard._orders), len(heard._crowded)) == (2, 0)


def test_crews_that_are_not_configured_share_what_is_left(log_lines: list[str]) -> None:
    """And hold nobody: their grants are admitted by none, and there may be any number of them."""
    heard = abroad()
    for number in range(MOST + 9):
        crew = f"c{number}"
        entry = RevocationEntry(
            QUARANTINE, orchestrator_key(crew, crew), crew_key(crew), WALL, WALL + DAY
        )
        heard.add(entry, "gateway/b", WALL)
    assert (len(heard._orders), len(heard._crowded)) == (MOST, 0)
    assert log_lines == []
    hear(heard, SUSPECTED)
    hear(heard, HELD)
    assert of(heard) == [HELD, SUSPECTED]
    assert len(log_lines) == 2


def test_each_kind_is_one_of_the_wire() -> None:
    """Which other versions know by these numbers."""
    kinds = [to_gossip(*BD, word).kind for word in (HELD, LET_GO, SUSPECTED)]
    assert kinds == [QUARANTINE, LIFT, SUSPICION] == [128, 129, 130]


def test_a_flood_of_names_is_told_one_after_the_other(log_lines: list[str]) -> None:
    """A capsule full at once, then one a minute, the first first; each once, and that is said."""
    untold, burst = QuarantineOutbox(), limits.quarantine_announcements_burst
    names = [("bd", f"bd/{number}") for number in range(burst + 2)]
    for name in (*names, names[0]):
        untold.add(name)
    assert list(untold.due(0.0)) == names[:burst]
    assert list(untold.due(59.0)) == []
    assert list(untold.due(60.0)) == names[burst:-1]
    (sentence,) = log_lines
    assert sentence == (
        "the watch has quarantined 2 more orchestrators; it announces one of them to the other "
        "machines every 60 s"
    )
    assert list(untold.due(120.0)) == names[-1:]
    untold.add(names[3])
    assert list(untold.due(179.0)) == []
    assert len(log_lines) == 2
