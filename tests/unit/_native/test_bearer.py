"""Where a token is found, against `core.bearer`, which is obvious and slower."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leaks import assert_no_leak

from crewgate._native.bearer import TokenFinder
from crewgate.core.bearer import Credentials, find_token
from crewgate.core.reasons import Reason

Field = tuple[bytes, bytes]

CARRIERS = (b"authorization", b"x-api-key")
names = st.sampled_from([*CARRIERS, b"accept", b"authorizatioN", b"x-api-kez", b"dpop", b""])
values = st.one_of(
    st.sampled_from(
        [
            b"Bearer a",
            b"bearer",
            b"BEARER  a ",
            b"Basic a",
            b"Bearera",
            b"t",
            b"DPoP a",
            b"dpop",
            b"dPoP  b ",
            b"",
        ]
    ),
    st.text("bearerBEAREr ,\ta", max_size=10).map(str.encode),
    st.binary(max_size=8),
)
WAYS = [
    lambda c: c,
    lambda c: c.upper(),
    lambda c: b"%%%02x" % c[0],
    lambda c: b"%%%02X" % c.upper()[0],
    lambda c: b"%%u%04x" % c[0],
    lambda c: b"%%U%04X" % c.upper()[0],
]
NAMES = [b"access_token", b"access.token", b"access token", b"access[token", b"\t access_token\r"]
NAMES += [b"access_token[]", b"access_token[a][b]", b"access_token\0.x"]


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """A name of the parameter, some of its octets encoded; a raw blank is a plus."""
    name = draw(st.sampled_from(NAMES))
    ways = draw(st.lists(st.sampled_from(WAYS), min_size=len(name), max_size=len(name)))
    spelled = b"".join(way(bytes([c])) for way, c in zip(ways, name, strict=True))
    return spelled.replace(b" ", b"+")


spelled = spellings()
parameters = st.one_of(
    spelled,
    st.text("access_token%5F+=61u0.[] \0", max_size=16).map(str.encode),
    st.binary(max_size=6),
)
parts = st.tuples(parameters, st.sampled_from([b"", b"=", b"=x", b"x", b"+", b"["])).map(b"".join)
queries = st.lists(st.tuples(parts, st.sampled_from([b"&", b";"])).map(b"".join), max_size=3).map(
    lambda each: b"".join(each)[:-1]
)


@given(st.lists(st.tuples(names, values), max_size=4), queries, st.sets(names, max_size=3))
@example([(b"authorization", b"Bearer a")], b"&access%5ftoken", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"access%5ftoken%", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"%4%31ccess_token", {b"authorization"})
@example([(b"authorization", b"bearer ")], b"", {b"authorization"})
@example([(b"x-api-key", b" a")], b"", {b"x-api-key"})
@example([(b"authorization", b"Bearer a")], b"a=1;access_token=x", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"%u00", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"access%u0", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"access_token%u007", {b"authorization"})
@example([(b"authorization", b"Bearer a")], b"access_token+[", {b"authorization"})
@example([(b"authorization", b"DPoP a"), (b"dpop", b"b")], b"", {b"authorization"})
@example([(b"authorization", b"DPoP a"), (b"dpop", b""), (b"dpop", b"")], b"", {b"authorization"})
def test_find(fields: list[Field], query: bytes, carriers: set[bytes]) -> None:
    """The same token, or the same reason why there is none."""
    expected = find_token(fields, query, carriers)
    assert TokenFinder(carriers).find(fields, query) == expected
    assert TokenFinder(carriers).find(tuple(fields), query) == expected


@given(spelled, st.sampled_from([b"&", b";"]))
def test_every_spelling_of_a_parameter(spelling: bytes, divider: bytes) -> None:
    """A token in the query is seen through case and encoding, and behind either divider."""
    fields = [(b"authorization", b"Bearer a")]
    for query in (b"a=b" + divider + spelling, spelling + b"=x" + divider + b"a=b"):
        assert TokenFinder(CARRIERS).find(fields, query) is Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    "query",
    [b"access[token]=x", b"access-token=x", b"a[access_token]=x", b"a=access_token", b"token=x",
     b"access_tokens=x", b"my.access_token=x", b"access%5Btoken%5D=x", b"access_token%3Dx=1"],
)  # fmt: skip
def test_other_parameters_are_no_token(query: bytes) -> None:
    """What no server takes for that name is the tool's."""
    assert TokenFinder(CARRIERS).find([(b"authorization", b"Bearer a")], query) == Credentials(
        b"a", None
    )


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
