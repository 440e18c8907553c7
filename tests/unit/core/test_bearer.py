"""A request carries its token in one place, or it is not judged at all."""

import pytest

from crewgate.core.bearer import Credentials, find_token
from crewgate.core.reasons import Reason

AUTHORIZATION = [b"authorization"]
BOTH = [b"authorization", b"x-api-key"]


@pytest.mark.parametrize("value", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER  a.b.c "])
def test_the_scheme_has_no_case(value: bytes) -> None:
    """RFC 9110, section 11.1."""
    assert find_token([(b"authorization", value)], b"", AUTHORIZATION) == Credentials(
        b"a.b.c", None
    )


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"Basic YTpi")], [(b"x-api-key", b"t")]]
)
def test_no_token_is_not_a_bad_token(headers: list[tuple[bytes, bytes]]) -> None:
    """Another scheme, and a field that this tool does not take tokens in, are none."""
    assert find_token(headers, b"", AUTHORIZATION) is Reason.MISSING_TOKEN


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Basic YTpi")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer a b")],
        [(b"authorization", b"Bearer a,Bearer b")],
        [(b"x-api-key", b"")],
    ],
)
def test_two_credentials_or_half_of_one_are_malformed(headers: list[tuple[bytes, bytes]]) -> None:
    """Nobody has to guess which token was meant."""
    assert find_token(headers, b"", BOTH) is Reason.INVALID_REQUEST


@pytest.mark.parametrize("query", [b"access_token=x", b"a=b&access%5Ftoken=x", b"ACCESS_TOKEN"])
def test_a_token_in_the_query_is_refused(query: bytes) -> None:
    """RFC 6750, section 2.3: it would stand in every log."""
    headers = [(b"authorization", b"Bearer a")]
    assert find_token(headers, query, AUTHORIZATION) is Reason.INVALID_REQUEST
    assert find_token(headers, b"q=access_token", AUTHORIZATION) == Credentials(b"a", None)


def test_credentials_show_no_secret() -> None:
    assert repr(Credentials(b"e30.e30.c2ln", b"proof")) == "<Credentials with a proof>"
