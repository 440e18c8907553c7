"""What servers trim from a name, against the plain expression; and how its work grows."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.policy.path_variants import loose_segment
from crewgate.core.policy.routing import RoutePattern, Router

_BLANK = r"\s\x00-\x1f\x7f-\x9f+"
_SLOW = re.compile(rf"\A[{_BLANK}]+|(?:[{_BLANK}.:]|:[^/:]*:\$\w+)+\Z")


@given(
    st.lists(st.sampled_from([*"ab_$:.+ \u2003\x01\u0661", "::$a", ":b:$data", "$a"])).map("".join)
)
def test_what_is_trimmed_is_what_the_plain_expression_trims(word: str) -> None:
    """Blanks before a name; blanks, dots, colons and NTFS's streams after it."""
    assert loose_segment(word).decode() == _SLOW.sub("", word)


def _seconds(router: Router, path: bytes) -> float:
    """The least processor time of this thread of a few."""

    def once() -> float:
        begun = time.thread_time()
        router.find(b"GET", path)
        return time.thread_time() - begun

    return min(once() for _ in range(5))


@pytest.mark.parametrize("inner", [".", "+", ":", "::$a", ":$a", ": ", "::$", ".a"])
def test_the_work_for_a_long_name_grows_no_faster_than_the_name(inner: str) -> None:
    """Of a name 16 times as long it is some 16 times as much; in a square it would be 256 times."""
    router = Router([RoutePattern("GET", "/users/{id}", "a"), RoutePattern("GET", "/other", "b")])
    short, long = (b"/users/A" + inner.encode() * n + b"-" for n in (500, 8000))
    assert _seconds(router, long) < 100 * _seconds(router, short)
