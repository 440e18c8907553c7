"""The claims of a token: each rule of the design, and the slow model beside the native code."""

import json
from typing import Any

import pytest
import slow_token
import tokens
from hypothesis import given
from hypothesis import strategies as st

from crewgate._native.token import MalformedTokenError, claims

LONG = "x" * 128
IDS = [f"0199c1d2-0000-7000-8000-0000000000{number:02d}" for number in range(10, 30)]


def accepted(payload: bytes) -> bool:
    """Whether the native code takes the payload; the slow model must say the same."""
    try:
        claims(payload)
    except MalformedTokenError:
        result = False
    else:
        result = True
    assert slow_token.accepts_payload(payload) == result
    return result


def path(count: int) -> list[dict[str, Any]]:
    """An ancestry of distinct branches."""
    return [{"id": identifier, "credit_quota": 1} for identifier in IDS[:count]]


def test_example_is_decoded() -> None:
    """Every claim of the design's example arrives as it was written."""
    decoded = claims(tokens.payload())
    assert decoded.execution_branch_id == tokens.BRANCH
    assert [element.id for element in decoded.branch_path] == [tokens.ROOT, tokens.PARENT]
    assert decoded.credit_quota == 2_500_000
    assert decoded.nbf is None
    assert {name: getattr(decoded, name) for name in slow_token.TEXT_CLAIMS} == {
        name: tokens.CLAIMS[name] for name in slow_token.TEXT_CLAIMS
    }


@pytest.mark.parametrize("name", tokens.CLAIMS)
def test_every_claim_is_required(name: str) -> None:
    """A token that lacks one claim is no token."""
    assert not accepted(tokens.payload(**{name: ...}))


@pytest.mark.parametrize("name", tokens.CLAIMS)
def test_no_claim_may_be_null(name: str) -> None:
    """`null` stands for no claim."""
    assert not accepted(tokens.payload(**{name: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"nbf": 1_800_000_000},
        {"act": {"sub": "a", "act": {"sub": "b", "act": {"sub": "c"}}}},
        {"act": {"sub": "a", "x": 1}, "branch_path": []},
        {"unknown": {"deeply": [{"nested": [1.5, True, None, "ä", 10**30]}]}},
        {"aud": ["https://other.example", "https://gateway.example"]},
        {"aud": ["x"] * 8},
        {"sub": LONG},
        {"sub": "AZaz09._:/@-"},
        {"credit_quota": 0},
        {"credit_quota": 2**53 - 1},
        {"branch_path": []},
        {"branch_path": path(8)},
        {"branch_path": [{"id": IDS[0], "credit_quota": 0, "iat": 0, "unknown": None}]},
        {"iat": 0, "exp": 0, "branch_path": []},
        {"exp": 2**33},
        {"allowed_tools": ["a"] * 64},
        {"allowed_tools": ["a-b_c.d0.*", "0", "_", LONG, "x" * 126 + ".*"]},
    ],
    ids=str,
)
def test_accepted(changes: dict[str, Any]) -> None:
    """The edges that still are inside."""
    assert accepted(tokens.payload(**changes))


@pytest.mark.parametrize("name", slow_token.TEXT_CLAIMS)
@pytest.mark.parametrize(
    "value",
    ["", LONG + "x", "a b", "a\u00e9", "a%20", "a?b", 'a"b', "a\\b", "a+b", "\u0430", 1, []],
)
def test_texts_outside_the_alphabet_are_refused(name: str, value: object) -> None:
    """A text has 1 to 128 characters of the alphabet that needs no escaping anywhere."""
    assert not accepted(tokens.payload(**{name: value}))


@pytest.mark.parametrize("value", ["", [], ["x"] * 9, ["a b"], [""], [1], [["x"]], {}, LONG + "x"])
def test_audiences_are_refused(value: object) -> None:
    """`aud` is a text or one to eight texts."""
    assert not accepted(tokens.payload(aud=value))


BAD_IDS = [
    "00000000-0000-0000-0000-000000000000",
    tokens.BRANCH.upper(),
    tokens.BRANCH.replace("-", ""),
    "{" + tokens.BRANCH + "}",
    "urn:uuid:" + tokens.BRANCH,
    tokens.BRANCH[:-1],
    tokens.BRANCH + "0",
    tokens.BRANCH[:-1] + "g",
    tokens.BRANCH.replace("-", "_"),
    "0199c1d20-000-7000-8000-000000000003",
    tokens.BRANCH[:-1] + "\uff13",
    "",
    1,
]


@pytest.mark.parametrize("identifier", BAD_IDS)
def test_ids_that_are_no_uuid_are_refused(identifier: object) -> None:
    """An id has one writing: lower-case, hyphenated, not nil."""
    assert not accepted(tokens.payload(execution_branch_id=identifier))
    assert not accepted(tokens.payload(branch_path=[{"id": identifier, "credit_quota": 1}]))


@pytest.mark.parametrize(
    "ancestry",
    [
        path(9),
        [*path(3), path(1)[0]],
        [*path(1), {"id": tokens.BRANCH, "credit_quota": 1}],
        [{"id": IDS[0]}],
        [{"credit_quota": 1}],
        [{"id": IDS[0], "credit_quota": -1}],
        [{"id": IDS[0], "credit_quota": 2**53}],
        [{"id": IDS[0], "credit_quota": 1, "iat": None}],
        [{"id": IDS[0], "credit_quota": 1, "iat": 1.0}],
        [IDS[0]],
        [[IDS[0], 1]],
        {},
        "",
    ],
    ids=range(13),
)
def test_paths_are_refused(ancestry: object) -> None:
    """Too long, an id twice, the branch itself, or an element that is none."""
    assert not accepted(tokens.payload(branch_path=ancestry))


@pytest.mark.parametrize(
    ("iat", "times", "good"),
    [
        (1000, (1000, 1000), True),
        (1000, (1005, None), True),
        (1000, (1006,), False),
        (1000, (None, 1006), False),
        (1000, (1006, 0), False),
        (1000, (2**33,), False),
        (2**33, (2**33,) * 8, True),
        (0, (5,), True),
        (0, (6,), False),
    ],
)
def test_no_ancestor_is_issued_after_its_child(
    iat: int, times: tuple[int | None, ...], good: bool
) -> None:
    """But for the leeway between two clocks: what an ancestor's newest grant says would govern."""
    ancestry = [
        element if time is None else element | {"iat": time}
        for element, time in zip(path(8), times, strict=False)
    ]
    assert accepted(tokens.payload(iat=iat, branch_path=ancestry)) == good


@given(st.integers(0, 2**33), st.lists(st.integers(-20, 20), max_size=8))
def test_times_of_ancestors_are_judged_like_the_model(iat: int, after: list[int]) -> None:
    """At any time, whichever of them it is."""
    ancestry = [
        element | {"iat": min(max(0, iat + seconds), 2**33)}
        for element, seconds in zip(path(8), after, strict=False)
    ]
    accepted(tokens.payload(iat=iat, branch_path=ancestry))


@pytest.mark.parametrize("name", ["iat", "exp", "nbf", "credit_quota"])
@pytest.mark.parametrize(
    "raw", ["-1", "1.0", "1e3", '"1"', "true", "[]", "9" * 30, "1E400", "null"]
)
def test_numbers_are_json_integers(name: str, raw: str) -> None:
    """Times and credits have no fraction, exponent, sign or quotes, and an end."""
    assert not accepted(tokens.with_raw(name, raw))


@pytest.mark.parametrize(("name", "value"), [("exp", 2**33 + 1), ("credit_quota", 2**53)])
def test_numbers_have_an_end(name: str, value: int) -> None:
    """One more than the largest is refused."""
    assert not accepted(tokens.payload(**{name: value}))


BAD_PATTERNS = [
    "*", ".*", "search*", "*.web", "search.*.web", "search.**", "search..web", ".search", "search.",
    "search web", "search:", ":search", "search.:web", "search/web", "", "search.*.", "x" * 129,
    "x" * 127 + ".*", "s\u00e9arch", "search.\u2024*", 1, None,
]  # fmt: skip


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_tools_that_are_no_pattern_are_refused(pattern: object) -> None:
    """An entry is an exact name, or one with a trailing `.*`; one bad entry spoils the token."""
    assert not accepted(tokens.payload(allowed_tools=["search.web", pattern]))


@pytest.mark.parametrize(
    "actors",
    [
        None,
        "a",
        [],
        {},
        {"sub": "a"},
        {"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}},
        {"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": None}}},
        {"sub": "a", "act": {"sub": "b", "act": {"sub": 1}}},
        {"sub": "a", "act": {"sub": "b", "act": {"sub": "*"}}},
        {"sub": "a", "act": {"sub": "b", "act": {}}},
    ],
    ids=range(10),
)
def test_actors_are_refused(actors: object) -> None:
    """The branch and its two ancestors have three actors, each with a name."""
    assert not accepted(tokens.payload(act=actors))


@pytest.mark.parametrize("tools", [[], ["a"] * 65, "search.web", {}])
def test_tools_have_one_to_64_entries(tools: object) -> None:
    """None at all would mean nothing, and too many are refused."""
    assert not accepted(tokens.payload(allowed_tools=tools))


def test_ten_deep_is_the_deepest() -> None:
    """The payload is the first level; ten are accepted, eleven are not, in arrays and objects."""
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for inner in ("1", "[]", "{}"):
            for depth in range(7, 11):
                raw = opening * depth + inner + closing * depth
                total = 1 + depth + (inner != "1")
                assert accepted(tokens.with_raw("x", raw)) == (total <= 10)


def test_64_members_are_the_most() -> None:
    """An object of 64 members is accepted, one of 65 is not."""
    for count in (64, 65):
        members = json.dumps({str(number): 0 for number in range(count)})
        assert accepted(tokens.with_raw("x", members)) == (count == 64)


json_text = st.text(max_size=6)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | json_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=12,
)
fragment = st.binary(max_size=3) | st.sampled_from(
    [b"\\u0000", b"\\ud800", b"\\udc00", b"\\n", b"\\/", b'"', b"{", b"}", b"[", b"]", b",", b":",
     b"\xc0\x80", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"\x7f", b"1e5", b"-", b"null", b'"exp":1,']
)  # fmt: skip
actors = st.recursive(
    st.fixed_dictionaries({"sub": st.sampled_from(["a", "*", 1])}),
    lambda inner: st.fixed_dictionaries({"sub": st.just("a"), "act": inner}),
    max_leaves=4,
)


@given(value=json_value, ascii_only=st.booleans())
def test_unknown_members_are_judged_like_the_model(value: object, ascii_only: bool) -> None:
    """Whatever an unknown member holds, native code and the slow model agree."""
    text = json.dumps({**tokens.CLAIMS, "x": value}, ensure_ascii=ascii_only)
    accepted(text.encode(errors="surrogatepass"))


@given(value=json_value, at=st.integers(0, 5000), cut=st.integers(0, 3), put=fragment)
def test_damaged_payloads_are_judged_like_the_model(
    value: object, at: int, cut: int, put: bytes
) -> None:
    """After any small damage, native code and the slow model agree."""
    text = json.dumps({**tokens.CLAIMS, "x": value}, ensure_ascii=False)
    payload = text.encode(errors="surrogatepass")
    at %= len(payload) + 1
    accepted(payload[:at] + put + payload[at + cut :])


@given(
    name=st.sampled_from([*tokens.CLAIMS, "act"]),
    value=json_value
    | actors
    | st.sampled_from(list(tokens.CLAIMS.values()))
    | st.lists(st.sampled_from(["a", "a.*", "a.b", "*", ""]), max_size=3)
    | st.text("abAB09._:/@-* ", max_size=130),
)
def test_changed_claims_are_judged_like_the_model(name: str, value: object) -> None:
    """Whatever one claim says, native code and the slow model agree."""
    accepted(json.dumps({**tokens.CLAIMS, name: value}).encode())
