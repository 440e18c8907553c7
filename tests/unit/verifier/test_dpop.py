"""Bound tokens at an embedded verifier, and at the ASGI middleware before an application."""

import hashlib
import time
from typing import Any

import proofs
import pytest
import tokens
from asgi_play import LOOPS, Play
from crew_world import World
from embedded import denied, permitted, standalone

from crewgate import Reason
from crewgate.asgi import CrewgateMiddleware
from crewgate.errors import ConfigurationError
from crewgate.verifier import DPoPProof, Verifier

CLIENT = proofs.Ed25519Client()
URL = "https://tools.example/search"
ORIGINS = ["https://tools.example"]


def bound_token(world: World) -> bytes:
    return world.mint(cnf={"jkt": proofs.thumbprint(CLIENT)})


def proof(token: bytes, **changes: Any) -> bytes:
    """A proof of now; each one is the first with its id."""
    claims = {
        "jti": str(time.perf_counter_ns()),
        "htu": URL,
        "iat": int(time.time()),
        "ath": tokens.base64url(hashlib.sha256(token).digest()).decode(),
        **changes,
    }
    return proofs.proof(CLIENT, **claims)


def shown(token: bytes, **changes: Any) -> DPoPProof:
    return DPoPProof(proof(token, **changes).decode(), "POST", URL + "?q=1")


def nonce_of(verifier: Verifier, token: bytes) -> str:
    """The nonce that a new table demands, from its first refusal."""
    refused = denied(verifier.decide(token, "free.ping", proof=shown(token)))
    assert refused.reason is Reason.USE_NONCE
    return refused.nonce.decode()


def test_a_call_needs_a_new_proof() -> None:
    world = World.make()
    token = bound_token(world)
    with standalone(world) as verifier:
        assert denied(verifier.decide(token, "free.ping")).reason is Reason.INVALID_PROOF
        used = shown(token, nonce=nonce_of(verifier, token))
        # The first call of a branch draws, and the gate judges the same proof again.
        permitted(verifier.decide(token, "search.web", proof=used))
        again = verifier.decide(token, "search.web", proof=used)
        assert denied(again).reason is Reason.PROOF_REPLAYED


def test_a_proof_for_another_server_or_request() -> None:
    world = World.make()
    token = bound_token(world)
    with standalone(world) as verifier:
        nonce = nonce_of(verifier, token)
        text = proof(token, nonce=nonce).decode()
        for other in (
            DPoPProof(text, "GET", URL),
            DPoPProof(text, "POST", "https://tools.example/other"),
            DPoPProof(text, "POST", "https://other.example/search"),
            DPoPProof(text, "POST", None),
            DPoPProof("", "POST", URL),
            DPoPProof("é" * 10_000, "POST", URL),
        ):
            found = verifier.decide(token, "free.ping", proof=other)
            assert denied(found).reason is Reason.INVALID_PROOF
        permitted(verifier.decide(token, "free.ping", proof=DPoPProof(text, "POST", URL)))
        with pytest.raises(ValueError, match="pass the whole URL"):
            verifier.decide(token, "free.ping", proof=DPoPProof(text, "POST", "/search"))


def test_a_crew_that_requires_bound_tokens() -> None:
    world = World.make()
    with standalone(world, binding="required") as verifier:
        found = verifier.decide(world.token, "free.ping")
        assert denied(found).reason is Reason.TOKEN_UNBOUND


async def answering(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def played(verifier: Verifier, loop: str, fields: Any, **options: Any) -> tuple[int, dict]:
    """Status and header fields of an answer to POST /search."""
    guarded = CrewgateMiddleware(answering, verifier=verifier, tool="search.web", **options)
    begun = Play(loop, headers=fields).run(guarded).sent[0]
    return begun["status"], dict(begun["headers"])


@pytest.mark.parametrize("loop", LOOPS)
def test_the_middleware(loop: str) -> None:
    world = World.make()
    token = bound_token(world)
    bearer, dpop = ((b"authorization", scheme + token) for scheme in (b"Bearer ", b"DPoP "))
    with standalone(world) as verifier:
        for fields in ([bearer], [bearer, (b"dpop", proof(token))], [dpop]):
            assert played(verifier, loop, fields, origins=ORIGINS)[0] == 401
        status, fields = played(verifier, loop, [dpop, (b"dpop", proof(token))], origins=ORIGINS)
        assert (status, b"use_dpop_nonce" in fields[b"www-authenticate"]) == (401, True)
        nonce = fields[b"dpop-nonce"].decode()
        used = [dpop, (b"dpop", proof(token, nonce=nonce))]
        assert played(verifier, loop, used, origins=ORIGINS)[0] == 200
        assert played(verifier, loop, used, origins=ORIGINS)[0] == 401
        for origins in ([], ["https://other.example"], ["http://tools.example"]):
            new = [dpop, (b"dpop", proof(token, nonce=nonce))]
            assert played(verifier, loop, new, origins=origins)[0] == 401
        new = [dpop, (b"dpop", proof(token, nonce=nonce))]
        assert played(verifier, loop, new, origins=["https://tools.example:443"])[0] == 200


def test_an_answer_has_a_newer_nonce() -> None:
    """So that a client that goes on calling is never refused for its nonce."""
    world = World.make()
    token = bound_token(world)
    with standalone(world) as verifier:
        nonce = nonce_of(verifier, token)
        gate = verifier._source.judge.gate
        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        gate.clock = (time.time_ns(), boot + 16_000_000_000)  # the next step of nonces
        used = shown(token, nonce=nonce)
        permitted(verifier.decide(token, "search.web", proof=used))
        assert used.next_nonce is not None
        fields = [(b"authorization", b"DPoP " + token)]
        options = {"origins": ORIGINS, "dpop_nonce": "required"}
        for sent, is_newer in ((nonce, True), (used.next_nonce.decode(), False)):
            fields[1:] = [(b"dpop", proof(token, nonce=sent))]
            status, answer = played(verifier, "trio", fields, **options)
            assert (status, b"dpop-nonce" in answer) == (200, is_newer)


@pytest.mark.parametrize("path", [".evil.example/search", ":9443/search", "[/x", "/a#b", "*", ""])
def test_a_target_cannot_change_the_host_of_the_url(path: str) -> None:
    """Some servers pass on a target without a slash at its begin."""
    world = World.make()
    token = bound_token(world)
    with standalone(world) as verifier:
        nonce = nonce_of(verifier, token)
        url = f"https://tools.example{path}".partition("#")[0]
        fields = [
            (b"authorization", b"DPoP " + token),
            (b"dpop", proof(token, nonce=nonce, htu=url)),
        ]
        guarded = CrewgateMiddleware(
            answering, verifier=verifier, tool="search.web", origins=ORIGINS
        )
        play = Play("trio", headers=fields, path=path)
        play.scope["raw_path"] = path.encode()
        assert play.run(guarded).sent[0]["status"] == 401


def test_origins_are_checked() -> None:
    world = World.make()
    with standalone(world) as verifier:
        for bad in (["tools.example"], ["https://"], ["https://a/b"], ["ftp://a"], ["https://é"]):
            with pytest.raises(ConfigurationError, match="write a scheme and a host"):
                CrewgateMiddleware(answering, verifier=verifier, tool="search.web", origins=bad)
        with pytest.raises(ConfigurationError, match="must be a list"):
            CrewgateMiddleware(answering, verifier=verifier, tool="search.web", origins="https://a")
