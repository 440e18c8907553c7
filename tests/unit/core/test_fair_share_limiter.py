"""Room that many share, against a model that counts each sharer's part."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.fair_share_limiter import FairShareLimiter

MOST = 6
sharers = st.sampled_from(["", "a", "b", "c"])


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.booleans(), sharers, st.integers(0, MOST + 1)), max_size=30),
)
def test_nobody_has_more_than_a_part_and_all_no_more_than_there_is(
    share: int, steps: list[tuple[bool, str, int]]
) -> None:
    """What does not fit is refused and takes nothing; what is given back is there again."""
    room, own = FairShareLimiter(MOST, share), Counter[str]()
    for takes, who, amount in steps:
        if takes:
            fits = own.total() + amount <= MOST and own[who] + amount <= MOST // share
            assert room.take(amount, who) is fits
            own[who] += amount if fits else 0
        else:
            amount = min(amount, own[who])  # noqa: PLW2901 - nobody gives back what he has not
            room.free(amount, who)
            own[who] -= amount
        assert room.taken == own.total()
    for who, amount in own.items():
        room.free(amount, who)
    assert (room.taken, room._by_user) == (0, {})
