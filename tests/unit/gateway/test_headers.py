"""What goes upstream and what comes back."""

import pytest
from gateway_world import BRANCH, ROOT, grant_of

from crewgate import limits
from crewgate._datapath.grant_cache import GrantCache
from crewgate._native.fields import written
from crewgate.core.http_types import HeaderField
from crewgate.errors import InvalidRequestError
from crewgate.gateway.headers import (
    HeaderRules,
    downstream_headers,
    identity,
    identity_headers,
    rules,
    trailer_fields,
)

CREDENTIAL = (b"x-upstream-key", b"s3cret")


def upstream_headers(
    fields: list[HeaderField], rule: HeaderRules, token: bytes = b""
) -> list[HeaderField]:
    return rule.filter.kept(fields, token)


def _rules(*, allow: tuple[str, ...] = ()) -> HeaderRules:
    return rules(carriers=("authorization", "x-api-key"), allow=allow, credential=CREDENTIAL)


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        b"x-api-key",
        b"connection",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"host",
        b"expect",
        b"x-http-method-override",
        b"x-original-url",
        b"x-forwarded-prefix",
        b"x-original-host",
        b"x_forwarded_for",
        b"x_anything",
        b"x.http.method.override",
        b"x.api.key",
        b"content~length",
        b"proxy.authorization",
        b"forwarded",
        b"x-forwarded-for",
        b"x.forwarded.for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-real-ip",
    ],
)
def test_dropped(name: bytes) -> None:
    """Credentials, framing, hop-by-hop fields, overrides and odd names stay here.

    So does the client's word on where it is; all in every spelling that a framework could take for
    them.
    """
    kept = (b"accept", b"*/*")
    assert upstream_headers([(name, b"1"), kept], _rules()) == [kept]


@pytest.mark.parametrize(
    "name",
    [
        b"x-crewgate-crew",
        b"x-crewgate-anything",
        b"x_crewgate_crew",
        b"x-crewgate_crew",
        b"x-upstream-key",
        b"x_upstream-key",
        b"x.crewgate.crew",
        b"x-crewgate+crew",
        b"x.upstream~key",
    ],
)
def test_refused(name: bytes) -> None:
    """What a framework could take for a field of ours makes the request malformed."""
    with pytest.raises(InvalidRequestError):
        upstream_headers([(name, b"1")], _rules(allow=(name.decode(),)))


def test_a_credential_is_the_gateways_in_every_spelling() -> None:
    """A credential's own `_` lets no other spelling of it through; nobody sees it in a repr."""
    rule = rules(carriers=(), allow=(), credential=(b"x_upstream_key", b"s3cret"))
    with pytest.raises(InvalidRequestError):
        upstream_headers([(b"x-upstream-key", b"1")], rule)
    assert "s3cret" not in repr(rule)


def test_allowed() -> None:
    """A tool may want a field that looks like a trick; names are compared in lower case."""
    fields = [(b"x_session", b"1"), (b"x-http-method-override", b"PUT")]
    assert upstream_headers(fields, _rules(allow=("X_Session", "x-http-method-override"))) == fields


@pytest.mark.parametrize(
    "name", [b"transfer-encoding", b"transfer_encoding", b"connection", b"host", b"cookie", b"te"]
)
def test_never_allowed(name: bytes) -> None:
    """What frames a message, belongs to one hop or is a secret passes for no tool."""
    assert upstream_headers([(name, b"1")], _rules(allow=(name.decode(),))) == []


def test_a_tool_may_believe_its_clients() -> None:
    """Whether a client's word on where it is may pass is known beforehand."""
    assert not _rules(allow=("x_session", "x-http-method-override")).keeps_origin
    rule = _rules(allow=("X-Forwarded-For",))
    assert rule.keeps_origin
    fields = [(b"x-forwarded-for", b"192.0.2.1"), (b"forwarded", b"for=192.0.2.1")]
    assert upstream_headers(fields, rule) == fields[:1]


@pytest.mark.parametrize("name", [b"x-api-key", b"x-goog-api-key", b"x_goog_api_key"])
def test_no_carrier_goes_on_unless_the_tool_asks(name: bytes) -> None:
    """Also where no tool of this gateway has its token there: clients double it."""
    kept = (b"accept", b"*/*")
    rule = rules(carriers=("authorization",), allow=(), credential=None)
    assert upstream_headers([(name, b"key"), kept], rule) == [kept]
    wants = rules(carriers=("authorization",), allow=(name.decode(),), credential=None)
    assert upstream_headers([(name, b"key"), kept], wants) == [(name, b"key"), kept]
    assert upstream_headers([(name, b"token"), kept], wants, b"token") == [kept]


def test_no_field_holds_the_callers_token() -> None:
    """Whatever its name, and whatever stands round it."""
    fields = [
        (b"x-forwarded-authorization", b"Bearer t.o.k"),
        (b"referer", b"https://a/?key=t.o.k&b"),
        (b"x-session", b"t.o"),
        (b"x-auth-token", b"t.o.k"),
    ]
    assert upstream_headers(fields, _rules(), b"t.o.k") == [fields[2]]
    assert upstream_headers(fields, _rules()) == fields


def test_connection_names_hop_by_hop_fields() -> None:
    """Fields that Connection names go no further; they can never name ours, which come later."""
    fields = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"x-end", b"2"),
        (b"connection", b"x-crewgate-crew"),
    ]
    assert upstream_headers(fields, _rules()) == [(b"x-end", b"2")]


def test_repeated_fields_keep_their_order() -> None:
    """End-to-end fields pass unchanged, repetitions too."""
    fields = [(b"accept", b"a"), (b"x-b", b""), (b"accept", b"\xff")]
    assert upstream_headers(fields, _rules()) == fields


def test_identity() -> None:
    """Who is calling, as verified; a root has no ancestry."""
    fields = dict(identity(grant_of()))
    assert fields[b"x-crewgate-branch"] == BRANCH.encode()
    assert fields[b"x-crewgate-ancestry"] == ROOT.encode()
    assert b"x-crewgate-ancestry" not in dict(identity(grant_of(parent=None)))


def test_identities_never_mix() -> None:
    """Every grant gets its own lines, however many grants came and went at its address."""
    identities = GrantCache(identity_headers)
    for number in range(200):
        parent = ROOT if number % 2 else None
        grant = grant_of(parent=parent)
        fields = identity(grant)
        for _ in range(2):
            assert identities.of(grant) == (fields, written(fields))
        del grant


def test_identities_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest grant makes room for a new one, and is written again when it comes back."""
    monkeypatch.setattr(limits, "grant_cache_entries_max", 3)
    identities = GrantCache(identity_headers)
    grants = [grant_of(parent=None if number % 2 else ROOT) for number in range(5)]
    for grant in grants * 2:
        fields = identity(grant)
        assert identities.of(grant) == (fields, written(fields))
        assert len(identities) <= 3


def test_answers() -> None:
    """An answer keeps what is end-to-end, and cannot speak in the gateway's name."""
    fields = [
        (b"content-length", b"3"),
        (b"set-cookie", b"a"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"1"),
        (b"x-crewgate-crew", b"liar"),
        (b"x_crewgate_credits_left", b"99"),
        (b"x.crewgate-credits_used", b"0"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-authenticate", b"Basic"),
        (b"proxy-authentication-info", b"a"),
        (b"upgrade", b"h2c"),
        (b"via", b"1.1 cache"),
    ]
    end_to_end = [*fields[:2], fields[-1]]
    assert downstream_headers(fields, 200) == end_to_end
    assert downstream_headers(fields, 304, version="2") == [*end_to_end, (b"via", b"2 crewgate")]


@pytest.mark.parametrize("status", [102, 103, 204])
def test_an_answer_that_has_no_content_has_no_length(status: int) -> None:
    """RFC 9110 §8.6; and what it says in the gateway's name is dropped as anywhere."""
    fields = [(b"content-length", b"0"), (b"x_crewgate_credits_left", b"9"), (b"link", b"a")]
    assert downstream_headers(fields, status) == [(b"link", b"a")]


def test_trailers_describe_nothing_that_came_before() -> None:
    """An answer's trailers lose what frames, describes or routes it (RFC 9110 §6.5.1)."""
    trailers = [
        (b"grpc-status", b"0"),
        (b"content-length", b"5"),
        (b"content-type", b"text/html"),
        (b"set-cookie", b"a=b"),
        (b"transfer-encoding", b"chunked"),
        (b"x-crewgate-crew", b"bd"),
        (b"x_crewgate_credits_used", b"0"),
        (b"server-timing", b"a"),
    ]
    assert trailer_fields(trailers) == [(b"grpc-status", b"0"), (b"server-timing", b"a")]
    assert trailer_fields([]) == []
