"""Calls with tokens that are bound to a key (RFC 9449), straight and on the Python way."""

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import proofs
import pytest
import tokens
from gate_world import BOOT_NS, NS
from http2_frames import Fields
from proofs import Client, Ed25519Client, P256Client
from search_depth import deep
from two_ways import OK, Seen, Way, two_ways

from crewgate._native.proof_windows import open_windows
from crewgate.gateway.call.undecided_call import ListenerPolicy

AUTHORITY = b"gateway.example:8443"
NAMES = frozenset({AUTHORITY, b"*.tools.example"})
CLIENT, THIEF = P256Client(), Ed25519Client(b"\2" * 32)
_numbers = count()


@asynccontextmanager
async def bound_ways(
    folder: Path, *, nonce_required: bool = False
) -> AsyncIterator[tuple[Way, ...]]:
    """Run both gateways; the token of each way is bound to the client's key."""
    async with two_ways(folder) as ways:
        for way in ways:
            site = way.site
            policy = ListenerPolicy("agents", names=NAMES, nonce_required=nonce_required)
            site.world.gateway.policy = policy
            open_proofs(way, -60)  # so it takes proofs without a nonce now
            open_proofs(way, 0)
            cnf = {"jkt": proofs.thumbprint(CLIENT)}
            way.token = site.token(["summary.*", "search.*"], cnf=cnf).encode()
        yield ways


def open_proofs(way: Way, seconds: int) -> None:
    """Do what the agent does each second, so long after the tokens were issued."""
    house = way.site.house
    open_windows(house.table, house.world.now + seconds, BOOT_NS // NS + seconds)


def proof(way: Way, client: Client = CLIENT, **changes: object) -> bytes:
    """A new proof for GET /summary."""
    claims = {
        "jti": f"{next(_numbers):08}",
        "htm": "GET",
        "htu": "https://gateway.example:8443/summary",
        "iat": way.site.house.world.now,
        "ath": tokens.base64url(hashlib.sha256(way.token).digest()).decode(),
        **changes,
    }
    return proofs.proof(client, **claims)


def asks(
    way: Way, *fields: tuple[bytes, bytes], scheme: bytes = b"DPoP", host: bytes = AUTHORITY
) -> Fields:
    """The fields of GET /summary with the way's token."""
    return [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/summary?q=1"),
        (b":authority", host),
        (b"authorization", scheme + b" " + way.token),
        *fields,
    ]


def status(seen: Seen) -> bytes:
    return dict(seen.blocks[0])[b":status"]


def refusal(seen: Seen) -> tuple[str, bytes]:
    """The slug of a refusal and its challenge. No refused call reaches the tool."""
    assert not seen.requests
    fields = dict(seen.blocks[0])
    slug = seen.body.partition(b"problems/")[2].partition(b'"')[0].decode()
    return slug, fields[b"www-authenticate"]


async def test_a_proof_for_each_call(tmp_path: Path) -> None:
    """The call goes straight, and the tool sees neither the token nor the proof."""
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            for _ in range(3):
                seen = await way.ask(asks(way, (b"dpop", proof(way))))
                assert status(seen) == b"200", seen
                (request,) = seen.requests
                assert b"dpop" not in request.lower()
                assert way.token not in request
        assert ways[0].counts == (3, 0)


@pytest.mark.parametrize(
    ("changes", "client"),
    [
        ({"htm": "POST"}, CLIENT),
        ({"htu": "https://gateway.example:8443/search"}, CLIENT),
        ({"htu": "https://other.example/summary"}, CLIENT),
        ({"htu": "http://gateway.example:8443/summary"}, CLIENT),
        ({"ath": "A" * 43}, CLIENT),
        ({"iat": 1}, CLIENT),
        ({}, THIEF),
    ],
    ids=["method", "path", "host", "scheme", "token", "time", "key"],
)
async def test_a_proof_of_something_else(
    changes: dict[str, object], client: Client, tmp_path: Path
) -> None:
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            seen = await way.ask(asks(way, (b"dpop", proof(way, client, **changes))))
            slug, challenge = refusal(seen)
            assert slug == "invalid-proof"
            assert challenge.startswith(b"DPoP ")
            assert b'error="invalid_dpop_proof"' in challenge
            assert b'algs="EdDSA Ed25519 ES256"' in challenge


async def test_a_stolen_token_alone(tmp_path: Path) -> None:
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            for fields in (
                asks(way, scheme=b"Bearer"),
                asks(way, (b"dpop", proof(way)), scheme=b"Bearer"),
                asks(way),
                asks(way, (b"dpop", b"")),
            ):
                assert refusal(await way.ask(fields))[0] == "invalid-proof"


@pytest.mark.parametrize("draws", [False, True], ids=["credit is there", "credit is drawn"])
async def test_a_proof_that_was_used(draws: bool, tmp_path: Path) -> None:
    """A call that must wait for a draw is no replay, although the gate is asked twice about it."""
    new = {"execution_branch_id": "0199c1d2-0000-7000-8000-0000000000aa"} if draws else {}
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            cnf = {"jkt": proofs.thumbprint(CLIENT)}
            way.token = way.site.token(["summary.*"], cnf=cnf, **new).encode()
            used = (b"dpop", proof(way))
            assert status(await way.ask(asks(way, used))) == b"200"
            assert refusal(await way.ask(asks(way, used)))[0] == "proof-replayed"


async def test_two_proofs(tmp_path: Path) -> None:
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            two = [(b"dpop", proof(way)), (b"dpop", proof(way))]
            seen = await way.ask(asks(way, *two))
            assert status(seen) == b"400"
            assert not seen.requests


async def test_a_proof_for_the_host_of_another_server(tmp_path: Path) -> None:
    """Client and proof agree on the host, but it is not this gateway's."""
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            for host, expected in (
                (b"evil.example", b"401"),
                (b"a.b.tools.example", b"401"),
                (b"a.tools.example", b"200"),
                (b"A.tools.example:443", b"200"),
            ):
                url = f"https://{host.decode()}/summary"
                seen = await way.ask(asks(way, (b"dpop", proof(way, htu=url)), host=host))
                assert status(seen) == expected, host


async def test_a_listener_that_requires_a_nonce(tmp_path: Path) -> None:
    """The refusal of the first proof has the nonce, which is good on this machine alone."""
    async with bound_ways(tmp_path, nonce_required=True) as ways:
        nonces = []
        for way in ways:
            seen = await way.ask(asks(way, (b"dpop", proof(way))))
            slug, challenge = refusal(seen)
            assert slug == "use-dpop-nonce"
            assert b'error="use_dpop_nonce"' in challenge
            nonces.append(dict(seen.blocks[0])[b"dpop-nonce"].decode())
            seen = await way.ask(asks(way, (b"dpop", proof(way, nonce=nonces[-1]))))
            assert status(seen) == b"200"
        seen = await ways[1].ask(asks(ways[1], (b"dpop", proof(ways[1], nonce=nonces[0]))))
        assert refusal(seen)[0] == "use-dpop-nonce"


async def test_a_client_gets_a_newer_nonce_with_an_answer(tmp_path: Path) -> None:
    """So that no request of a client that goes on calling is refused for its nonce."""
    async with bound_ways(tmp_path, nonce_required=True) as ways:
        for way in ways:
            seen = await way.ask(asks(way, (b"dpop", proof(way))))
            nonce = dict(seen.blocks[0])[b"dpop-nonce"].decode()
            way.site.house.boot_ns += 20 * NS  # of a minute for which it is good
            way.site.house.at(20)
            open_proofs(way, 20)
            heads = []
            for _ in range(2):
                seen = await way.ask(asks(way, (b"dpop", proof(way, nonce=nonce))))
                assert status(seen) == b"200"
                heads.append(dict(seen.blocks[0]))
                nonce = heads[-1].get(b"dpop-nonce", nonce.encode()).decode()
            assert len(heads[0][b"dpop-nonce"]) == 24
            assert b"dpop-nonce" not in heads[1]
        assert ways[0].counts == (1, 0)


async def test_a_tool_cannot_set_the_nonce(tmp_path: Path) -> None:
    answer = OK.replace(b"Content-Type", b"DPoP-Nonce: theirs\r\nContent-Type")
    async with bound_ways(tmp_path) as ways:
        for way in ways:
            seen = await way.ask(asks(way, (b"dpop", proof(way))), (answer,))
            assert b"dpop-nonce" not in dict(seen.blocks[0])


@pytest.mark.parametrize("seed", range(2))
async def test_recorded_traffic_is_worthless_without_the_key(seed: int, tmp_path: Path) -> None:
    """An attacker has all that clients sent and the gateway answered, and keys of its own.

    Whatever it makes of that, no call reaches the tool, over either way.
    """
    chance = random.Random(seed)
    async with bound_ways(tmp_path, nonce_required=bool(seed)) as ways:
        for way in ways:
            require_bound_tokens(way)
            recorded, nonces = await traffic(way)
            for _ in range(deep(60)):
                fields = attack(way, chance, recorded, nonces)
                seen = await way.ask(fields)
                assert not seen.requests, fields
                assert not seen.blocks or status(seen) in {b"400", b"401"}, fields


def require_bound_tokens(way: Way) -> None:
    """The crew refuses tokens that name no key."""
    house = way.site.house
    (crew, *others) = house.world.policy.crews
    bound = msgspec.structs.replace(crew, requires_binding=True)
    house.load(msgspec.structs.replace(house.world.policy, crews=(bound, *others)))


async def traffic(way: Way) -> tuple[list[bytes], list[str]]:
    """Proofs that clients sent, all of which were answered, and the nonces that they got."""
    recorded, nonces = [], [""]
    for _ in range(6):
        shown = proof(way, nonce=nonces[-1] or ...)
        seen = await way.ask(asks(way, (b"dpop", shown)))
        if status(seen) == b"200":
            recorded.append(shown)
        nonces.append(dict(seen.blocks[0]).get(b"dpop-nonce", nonces[-1].encode()).decode())
    assert len(recorded) >= 5
    return recorded, nonces


def attack(way: Way, chance: random.Random, recorded: list[bytes], nonces: list[str]) -> Fields:
    """A request of somebody without the key."""
    unbound = way.site.token(["summary.*", "search.*"]).encode()
    theirs = way.site.token(["summary.*"], cnf={"jkt": proofs.thumbprint(P256Client(9))}).encode()
    used = chance.choice(recorded)
    own = proof(way, THIEF, nonce=chance.choice(nonces) or ..., ath=chance.choice([..., "A" * 43]))
    at, bit = chance.randrange(len(used)), chance.randrange(8)
    flipped = used[:at] + bytes([used[at] ^ 1 << bit]) + used[at + 1 :]
    parts = [chance.choice([used, own]).split(b".")[number] for number in range(3)]
    spliced = b".".join(parts)
    some = [used, used, own, own, flipped, spliced, b"", used + b"," + own, used.upper()]
    shown, scheme = chance.choice(some), chance.choice([b"DPoP"] * 5 + [b"Bearer"] * 2 + [b"dpop"])
    token = chance.choice([*[way.token] * 5, unbound, theirs, shown or b"x"])
    fields = [each for each in asks(way) if each[0] != b"authorization"]
    fields += [(b"authorization", scheme + b" " + token)] * chance.choice([0, *[1] * 12, 2])
    fields += [(b"dpop", shown)] * chance.choice([0, *[1] * 9, 2])
    chance.shuffle(tail := fields[4:])
    # A client cannot send a line break or a space at an end (RFC 9113, section 8.2.1).
    return fields[:4] + [(name, value.strip(b"\0\r\n \t")) for name, value in tail]
