"""Where a token is found, against `core.bearer`, which is obvious and slower."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leaks import assert_no_leak

from crewgate._native.bearer import TokenFinder
from crewgate.core.bearer import find_token
from crewgate.core.verdict import Reason

Field = tuple[bytes, bytes]

CARRIERS = (b"authorization", b"x-api-key")
names = st.sampled_from([*CARRIERS, b"accept", b"authorizatioN", b"x-api-kez", b""])
values = st.one_of(
    st.sampled_from([b"Bearer a", b"bearer", b"BEARER  a ", b"Basic a", b"Bearera", b"t", b""]),
    st.text("bearerBEAREr ,\ta", max_size=10).map(str.encode),
    st.binary(max_size=8),
)
spelled = st.lists(
    st.sampled_from(
        [
            lambda c: c,
            lambda c: c.upper(),
            lambda c: b"%%%02x" % c[0],
            lambda c: b"%%%02X" % c.upper()[0],
        ]
    ),
    min_size=12,
    max_size=12,
).map(lambda ways: b"".join(way(bytes([c])) for way, c in zip(ways, b"access_token", strict=True)))
parameters = st.one_of(
    spelled, st.text("access_token%5F+=61", max_size=14).map(str.encode), st.binary(max_size=6)
)
queries = st.lists(
    st.tuples(parameters, st.sampled_from([b"", b"=", b"=x", b"x"])).map(b"".join), max_size=3
).map(b"&".join)


@given(st.lists(st.tuples(names, values), max_size=4), queries, st.sets(names, max_size=3))
@example([(b"authorization", b"Bearer a")], b"&access%5ftoken", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"access%5ftoken%", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"%4%31ccess_token", {b"authorization"})
@example([(b"authorization", b"bearer ")], b"", {b"authorization"})
@example([(b"x-api-key", b" a")], b"", {b"x-api-key"})
def test_find(fields: list[Field], query: bytes, carriers: set[bytes]) -> None:
    """The same token, or the same reason why there is none."""
    expected = find_token(fields, query, carriers)
    assert TokenFinder(carriers).find(fields, query) == expected
    assert TokenFinder(carriers).find(tuple(fields), query) == expected


@given(spelled)
def test_every_spelling_of_a_parameter(spelling: bytes) -> None:
    """A token in the query is seen through case and encoding."""
    fields = [(b"authorization", b"Bearer a")]
    assert TokenFinder(CARRIERS).find(fields, b"a=b&" + spelling) is Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("fields", "query"), [(None, b""), ([(b"a", "b")], b""), ([], None), ([], "q"), ([b"ab"], b"")]
)
def test_other_types(fields: Any, query: Any) -> None:
    """Whatever is not bytes is a TypeError."""
    with pytest.raises(TypeError):
        TokenFinder(CARRIERS).find(fields, query)
    with pytest.raises(TypeError):
        TokenFinder(["authorization"])  # type: ignore[list-item]


def test_nothing_is_kept_or_lost() -> None:
    """After thousands of searches no reference and no memory is left over."""
    finder = TokenFinder(CARRIERS)
    value = b"Bearer " + b"a" * 600
    fields = [(b"authorization", value)]

    def walk() -> None:
        for _ in range(2000):
            finder.find(fields, b"a=b&c")
            finder.find(fields * 2, b"")
            finder.find((), b"access_token")

    assert_no_leak(walk, value, fields[0])
