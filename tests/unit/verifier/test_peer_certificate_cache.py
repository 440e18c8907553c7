"""Certificates that an embedder's handshake has proved, in verdicts."""

import datetime as dt
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crew_world import AUDIENCE, BRANCH, PARENT, World
from embedded import PRICES, crew_of, denied, permitted
from leaf_certificates import HOUR, der, issuing, leaf, server

from crewgate import Denial, Permit, Reason, Verifier, limits
from crewgate.core import ids
from crewgate.core.ids import certificate_key
from crewgate.core.x509.certificate import read
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import ConfigurationError
from crewgate.verifier.peer_certificate_cache import CrewCertificate, PeerCertificateCache

TOOLS = {
    **PRICES,
    "finance.quote": {"price": "0.00001", "owner": "finance"},
    "article.publish": {"price": "0.00001", "owner": "article"},
}


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(crews=("article", "finance"))


@pytest.fixture
def verifier(world: World) -> Iterator[Verifier]:
    crews = {
        crew: crew_of(world, crew) | {"tools": ["search.*", "finance.*", "article.*"]}
        for crew in ("article", "finance")
    }
    with Verifier.standalone(audience=AUDIENCE, tools=TOOLS, crews=crews) as verifier:
        yield verifier


@pytest.fixture
def token(world: World) -> bytes:
    return world.mint(allowed_tools=["search.*", "finance.*", "article.*"])


def revoke(verifier: Verifier, key: bytes, before: int) -> None:
    """Enter a key into the verifier's table, as an agent would."""
    table = verifier._source.judge.table
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    table.revoke(key, ids.crew_key("article"), before, 3600, int(time.time()), boot_ns)  # type: ignore[attr-defined]


async def every_way(verifier: Verifier, *asked: object, peer: object) -> set[Reason | None]:
    """Why the same question is refused in each of its three forms; None for a permit."""
    verdicts = (
        verifier.decide(*asked, peer_certificate=peer),  # type: ignore[arg-type]
        verifier.admit_blocking(*asked, peer_certificate=peer),  # type: ignore[arg-type]
        await verifier.admit(*asked, peer_certificate=peer),  # type: ignore[arg-type]
    )
    return {each.reason if isinstance(each, Denial) else None for each in verdicts}


async def test_a_tool_of_another_crew_wants_the_callers_certificate(
    verifier: Verifier, token: bytes
) -> None:
    """Not none, and not another crew's; its own and shared tools want none, and the right one."""
    mine, theirs = leaf(), leaf("finance", "finance-1")
    for tool, peer, reason in (
        ("finance.quote", None, Reason.BINDING_MISMATCH),
        ("finance.quote", mine, None),
        ("finance.quote", theirs, Reason.BINDING_MISMATCH),
        ("article.publish", None, None),
        ("search.web", None, None),
        ("search.web", mine, None),
        ("search.web", theirs, Reason.BINDING_MISMATCH),
    ):
        assert await every_way(verifier, token, tool, peer=peer) == {reason}, (tool, peer)


async def test_the_agent_of_a_branch_shows_tokens_of_that_branch_alone(
    verifier: Verifier, token: bytes, world: World
) -> None:
    """Not one of a sibling; and none once the branch is revoked."""
    agent = leaf(role=Role.AGENT, instance=ids.uuid_bytes(BRANCH))
    sibling = leaf(role=Role.AGENT, instance=ids.uuid_bytes(PARENT))
    for tool in ("search.web", "finance.quote"):
        assert await every_way(verifier, token, tool, peer=agent) == {None}
        assert await every_way(verifier, token, tool, peer=sibling) == {Reason.BINDING_MISMATCH}
    assert await every_way(verifier, None, "search.web", peer=agent) == {Reason.MISSING_TOKEN}
    assert not verifier.peer_revoked(agent)
    revoke(verifier, ids.branch_key("article", BRANCH), limits.time_seconds_max)
    assert verifier.peer_revoked(agent)
    assert not verifier.peer_revoked(sibling)
    assert await every_way(verifier, token, "search.web", peer=agent) == {Reason.BINDING_MISMATCH}


BAD = {
    "expired": lambda: leaf(ago=5 * HOUR),
    "not yet valid": lambda: leaf(ago=-HOUR),
    "of a gateway": lambda: leaf(name="edge", role=Role.GATEWAY),
    "of an operator": lambda: leaf(name="ada", role=Role.OPERATOR),
    "a server's": server,
    "a CA": lambda: der(issuing().certificate),
    "cut": lambda: leaf()[:-1],
    "empty": lambda: b"",
    "huge": lambda: b"\x30\x84\xff\xff\xff\xff" * 100_000,
}


@pytest.mark.parametrize("what", BAD)
async def test_one_that_is_not_good_is_refused(verifier: Verifier, token: bytes, what: str) -> None:
    """Whatever the token and the tool, and without an exception."""
    peer = BAD[what]()
    for asked in ((token, "search.web"), (b"x.y.z", "search.web"), (None, "search.web")):
        assert await every_way(verifier, *asked, peer=peer) == {Reason.BINDING_MISMATCH}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (ssl.DER_cert_to_PEM_cert, TypeError),
        (lambda data: ssl.DER_cert_to_PEM_cert(data).encode(), ValueError),
        (lambda data: b"subject=CN = bd-1\n" + ssl.DER_cert_to_PEM_cert(data).encode(), ValueError),
        (bytearray, TypeError),
        (lambda _: 7, TypeError),
    ],
)
async def test_one_that_is_not_der_is_a_mistake_of_the_program(
    verifier: Verifier, token: bytes, form: Callable[[bytes], Any], error: type[Exception]
) -> None:
    """Otherwise a call would never end, since no revocation is of these bytes."""
    peer = form(leaf())
    with pytest.raises(error, match=r"ssl\.PEM_cert_to_DER_cert"):
        verifier.peer_revoked(peer)
    for given in (token, None):
        with pytest.raises(error, match=r"ssl\.PEM_cert_to_DER_cert"):
            verifier.decide(given, "search.web", peer_certificate=peer)


async def test_revocation_is_heard_of_at_once(verifier: Verifier, token: bytes) -> None:
    """Of the certificate for good; of the orchestrator for what was issued until then."""
    mine, renewed = leaf(ago=dt.timedelta(minutes=9)), leaf(ago=dt.timedelta(minutes=1))
    assert await every_way(verifier, token, "finance.quote", peer=mine) == {None}
    assert not verifier.peer_revoked(mine)
    orchestrator = ids.orchestrator_key("article", "article/article-1")
    revoke(verifier, orchestrator, int(time.time()) - 300)
    assert verifier.peer_revoked(mine)
    assert not verifier.peer_revoked(renewed)
    refused = {Reason.BINDING_MISMATCH}
    assert await every_way(verifier, token, "finance.quote", peer=mine) == refused
    # The revocation also counts for the token, which is younger than it.
    assert await every_way(verifier, token, "finance.quote", peer=renewed) == {None}
    revoke(verifier, certificate_key("article", read(renewed).serial), 2**33)
    assert await every_way(verifier, token, "finance.quote", peer=renewed) == refused
    assert verifier.peer_revoked(renewed)
    assert not verifier.peer_revoked(b"none")


async def test_without_a_token_there_is_nothing_to_judge(verifier: Verifier) -> None:
    """A standalone verifier has no crossings; a good certificate stands in for no token."""
    for tool in ("finance.quote", "search.web", "no.tool", ["unhashable"]):
        assert await every_way(verifier, None, tool, peer=leaf()) == {Reason.MISSING_TOKEN}
    assert await every_way(verifier, 7, "search.web", peer=leaf()) == {Reason.INVALID_TOKEN}


async def test_credit_and_sink_are_as_without(world: World, token: bytes) -> None:
    """A branch spends across the boundary what it spends elsewhere; every verdict is told."""
    told: list[tuple[str, bool]] = []
    short = world.mint(allowed_tools=["finance.*"], credit_quota=20)
    crews = {
        crew: crew_of(world, crew) | {"tools": ["finance.*"]} for crew in ("article", "finance")
    }
    with Verifier.standalone(
        audience=AUDIENCE,
        tools=TOOLS,
        crews=crews,
        sink=lambda tool, verdict: told.append((tool, isinstance(verdict, Permit))),
    ) as verifier:
        mine = leaf()
        for _ in range(2):
            permitted(verifier.decide(short, "finance.quote", peer_certificate=mine))
        last = denied(verifier.decide(short, "finance.quote", peer_certificate=mine))
        assert (last.reason, last.used_micro) == (Reason.CREDITS_EXHAUSTED, 20)
        verifier.decide(short, "finance.quote", peer_certificate=b"")
    assert told == [("finance.quote", True)] * 2 + [("finance.quote", False)] * 2
    closed = verifier.decide(short, "finance.quote", peer_certificate=mine)
    assert denied(closed).reason is Reason.REVOCATION_UNAVAILABLE


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (
            {"price": "1", "owner": "hr"},
            'owner = "hr": no such crew; known: article; a tool of no crew has the owner "shared"',
        ),
        ({"owner": "article"}, 'or {"price": …, "owner": a crew}'),
        ({"price": "1", "onwer": "article"}, 'or {"price": …, "owner": a crew}'),
        ({"price": 1}, 'or {"price": …, "owner": a crew}'),
    ],
)
def test_a_tool_is_given_with_a_price_and_an_owner(world: World, tool: object, told: str) -> None:
    """What is no price and no crew is refused in the words of the file."""
    crews = {"article": crew_of(world)}
    with pytest.raises(ConfigurationError) as caught:
        Verifier.standalone(audience=AUDIENCE, tools={"a.b": tool}, crews=crews)  # type: ignore[dict-item]
    assert told in str(caught.value)


def test_what_was_read_is_kept_and_bounded() -> None:
    """One certificate is read once; many do not fill a process."""
    peers = PeerCertificateCache(capacity=3)
    mine = leaf()
    found = peers.find(mine)
    assert isinstance(found, CrewCertificate)
    assert peers.find(bytes(bytearray(mine))) is found
    assert found.identity.label == "article/article-1"
    for number in range(9):
        assert peers.find(b"%d" % number) is None
        assert len(peers._known) <= 3
    assert peers.find(b"x" * 20_000) is None
    assert b"x" * 20_000 not in peers._known
