"""What was accepted, by number: whoever was told up to one is told what came after it."""

import pytest

from crewgate import limits
from crewgate.core.gossip.accept_log import AcceptLog, HandledUnstoredIds


def ids(*numbers: int) -> tuple[bytes, ...]:
    """Ids like no others."""
    return tuple(number.to_bytes(20) for number in numbers)


def accepted(count: int) -> AcceptLog:
    """So many, with the ids 1, 2 and so on."""
    one = AcceptLog()
    for number in range(1, count + 1):
        one.add(number.to_bytes(20))
    return one


@pytest.mark.parametrize(
    ("number", "most", "told"),
    [
        (0, 10, ids(1, 2, 3, 4)),
        (0, 3, ids(1, 2, 3)),
        (2, 10, ids(3, 4)),
        (4, 10, ()),
        (5, 10, None),
        (2**64 - 1, 10, None),
    ],
)
def test_what_came_after_a_number(number: int, most: int, told: tuple[bytes, ...] | None) -> None:
    """In order, no more than is asked for; nothing of what is still to come."""
    assert accepted(4).after(number, most) == told


def test_what_is_long_ago_is_forgotten_and_still_counted() -> None:
    """Whoever is that far behind is told that it is."""
    one = accepted(limits.accepted_max + 7)
    assert one.head == limits.accepted_max + 7
    assert one.after(6, 1) is None
    assert one.after(7, 2) == ids(8, 9)
    assert one.after(one.head, 1) == ()


def test_what_ids_do_not_tell_is_not_told_by_them() -> None:
    """Once it has forgotten on purpose, only who has everything goes on."""
    one = accepted(3)
    one.forget()
    assert one.after(2, 9) is None
    assert one.after(3, 9) == ()
    one.add(ids(4)[0])
    assert one.after(2, 9) is None
    assert one.after(3, 9) == ids(4)


def test_what_was_settled_first_is_forgotten_first() -> None:
    """In bounded room; one that comes again takes none."""
    one = HandledUnstoredIds()
    for _ in range(2):
        for id_ in ids(*range(1, limits.settled_max + 1)):
            one.add(id_)
    assert ids(1)[0] in one
    one.add(ids(10**6)[0])
    assert ids(1)[0] not in one
    assert ids(2)[0] in one
