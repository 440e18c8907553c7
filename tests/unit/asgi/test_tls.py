"""The client's certificate, where a server's TLS extension tells of one."""

from collections.abc import Iterator
from typing import Any

import pytest
from asgi_play import LOOPS, Play
from crew_world import AUDIENCE, World
from embedded import crew_of
from leaf_certificates import issuing, leaf, pem_text

from crewgate import Reason, Verifier
from crewgate.asgi import CrewgateMiddleware
from crewgate.asgi.tls import certificate_of

QUOTE = {"finance.quote": {"price": "0.00001", "owner": "finance"}}


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(crews=("article", "finance"))


@pytest.fixture
def verifier(world: World) -> Iterator[Verifier]:
    crews = {
        crew: crew_of(world, crew) | {"tools": ["finance.*"]} for crew in ("article", "finance")
    }
    with Verifier.standalone(audience=AUDIENCE, tools=QUOTE, crews=crews) as verifier:
        yield verifier


def tls(*chain: str, **more: object) -> dict[str, Any]:
    """A scope's extensions."""
    return {"tls": {"client_cert_chain": list(chain), "tls_version": 0x0304, **more}}


def test_the_leaf_is_taken_where_the_server_has_verified_it() -> None:
    """First of the chain, as DER; none where nothing was shown or it could not be verified."""
    mine = leaf()
    text = pem_text(mine)
    for extensions, expected in (
        (None, None),
        ({}, None),
        ({"tls": None}, None),
        ({"http.response.trailers": {}}, None),
        (tls(), None),
        ({"tls": {"client_cert_chain": None}}, None),
        (tls(text), mine),
        (tls(text, client_cert_error=None), mine),
        (tls(text, "the CA's"), mine),
        (tls(text, client_cert_error="self-signed certificate"), None),
        (tls("no PEM"), b""),
        (tls(text[:60]), b""),
        (tls("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"), b""),
    ):
        scope = {} if extensions is None else {"extensions": extensions}
        assert certificate_of(scope) == expected, extensions
    assert certificate_of({"extensions": {"tls": {"client_cert_chain": iter([text])}}}) == mine


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("chain", "status"),
    [
        ([pem_text(leaf())], 200),
        ([pem_text(leaf("finance", "finance-1"))], 401),
        ([], 401),
        (["garbage"], 401),
        ([issuing().certificate.subject.rfc4514_string()], 401),
    ],
    ids=["the caller's", "another crew's", "none", "garbage", "a name"],
)
def test_a_tool_of_another_crew_behind_the_middleware(
    world: World, verifier: Verifier, loop: str, chain: list[str], status: int
) -> None:
    """Called with a token and a certificate of its crew, and with nothing less."""
    token = world.mint(allowed_tools=["finance.*"])
    play = Play(loop, headers=[(b"authorization", b"Bearer " + token)])
    play.scope["extensions"] = tls(*chain)
    play.run(CrewgateMiddleware(answering, verifier=verifier, tool="finance.quote"))
    assert play.status == status, play.text
    if status != 200:
        assert b"binding-mismatch" in play.text


@pytest.mark.parametrize("loop", LOOPS)
def test_without_a_token_the_verifier_is_asked(verifier: Verifier, loop: str) -> None:
    """By certificate alone where it has a crossing; this one has none, and says what is missing."""
    play = Play(loop)
    play.scope["extensions"] = tls(pem_text(leaf()))
    play.run(CrewgateMiddleware(answering, verifier=verifier, tool="finance.quote"))
    assert play.status == 401
    assert b"missing-token" in play.text
    assert b"error=" not in play.headers[b"www-authenticate"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stream_ends_when_the_certificate_is_revoked(
    world: World, verifier: Verifier, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token lives on; its connection does not."""
    revoked: list[bytes] = []
    mine = leaf()
    monkeypatch.setattr(Verifier, "peer_revoked", lambda _, asked: asked in revoked)
    token = world.mint(allowed_tools=["finance.*"])
    play = Play(loop, headers=[(b"authorization", b"Bearer " + token)])
    play.scope["extensions"] = tls(pem_text(mine))
    play.on_send = lambda: revoked.append(mine) if len(play.sent) == 3 else None

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            await play.sleep(0.001)

    play.run(CrewgateMiddleware(stream, verifier=verifier, tool="finance.quote"))
    assert Reason.BRANCH_REVOKED.value.encode() in play.text
    assert len(play.sent) < 1000


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """A tool that answers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})
