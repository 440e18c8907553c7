"""Decisions of one thread: warm, cold and refused, beside the libraries' work on the same tokens.

Each case is asked once for its verdict before it is measured: a bench that measured refusals by
mistake would be fast.
"""

from collections.abc import Callable
from typing import Any

from bench import libraries
from bench.sampling import WARMING_ROUNDS, Case, Group, measure
from bench.world import (
    CREW,
    PRICE,
    PUBLISH,
    SEARCH,
    SMALL,
    Line,
    World,
    clocks,
    expect,
    open_line,
    private_table,
)
from crewgate import StandaloneVerifier, Verifier
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.budget.memory_ledger import MemoryLedger
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.leases.lease_client import LeaseClient
from crewgate.verifier.loaded_gate import judge_by
from crewgate.verifier.standalone import StandaloneSource

GATEWAY = "warm, gateway: decide + settle"
EMBEDDED = "warm, embedded: decide settles"
VERIFIER = "warm, verifier: decide + settle"
KNOWN = "cold: new token of a known branch"
FULL_CACHE = "cold, while the token cache is full"
NEW_BRANCH = "cold: new token, new branch, its draw"
WARM_CALLS = 500  # a batch of 0.2 ms
COLD_CALLS = 16  # a batch of 1 ms


def warm_gateway(gate: Gate, token: bytes) -> Case:
    """As a worker does it: reserve, then settle."""
    expect(gate.decide(token, SEARCH))

    def batch() -> int:
        decide: Any = gate.decide  # a permit, as was made sure
        for _ in range(WARM_CALLS):
            decide(token, SEARCH).settle()
        return WARM_CALLS

    return Case(GATEWAY, batch)


def warm_verifier(verifier: Verifier, token: bytes) -> Case:
    """As an application does it, through the public class."""
    expect(verifier.decide(token, "search.web"))

    def batch() -> int:
        decide: Any = verifier.decide  # a permit, as was made sure
        for _ in range(WARM_CALLS):
            decide(token, "search.web").settle()
        return WARM_CALLS

    return Case(VERIFIER, batch)


def repeated(
    name: str,
    gate: Gate,
    token: bytes,
    tool: int,
    reason: Reason | None = None,
    presenter: Presenter | None = None,
) -> Case:
    """One verdict over and over, nothing to settle."""
    expect(gate.decide(token, tool, presenter=presenter), reason)

    def batch() -> int:
        decide = gate.decide
        for _ in range(WARM_CALLS):
            decide(token, tool, presenter=presenter)
        return WARM_CALLS

    return Case(name, batch)


def warm(rounds: int) -> Group:
    """A known token, against PyJWT's decode of it."""
    world = World()
    line = world.line()
    table = private_table(SMALL, world.policy)
    open_line(table, line)
    token = world.mint(line)
    source = StandaloneSource(world.policy)
    source.judge = judge_by(world.policy, table)  # with the lease that was just opened
    cases = [
        warm_gateway(world.gate(table, holds=True), token),
        repeated(EMBEDDED, world.gate(table, holds=False), token, SEARCH),
        warm_verifier(StandaloneVerifier(source), token),
        libraries.pyjwt(world, [token] * 4),
        libraries.joserfc(world, [token] * 4),
    ]
    return measure("A known token", cases, rounds, libraries.PYJWT)


def cold_calls(rounds: int) -> int:
    """Tokens that a case uses up in so many rounds, the leading call of each batch included."""
    return (rounds + WARMING_ROUNDS) * (COLD_CALLS + 1)


def once_each(name: str, decide: Callable[[bytes], object], tokens: list[bytes]) -> Case:
    """A verdict on tokens that the gate has not seen: no token comes twice."""
    rest = list(tokens)
    pieces = [rest[at : at + COLD_CALLS] for at in range(0, len(rest), COLD_CALLS + 1)]
    leads = rest[COLD_CALLS :: COLD_CALLS + 1]

    def batch() -> int:
        for token in pieces.pop():
            decide(token)
        return COLD_CALLS

    return Case(name, batch, lambda: decide(leads.pop()))


def standing(gate: Gate) -> Callable[[bytes], Permit | Denial]:
    """Decide on a branch that the table knows."""
    decide = gate.decide
    return lambda token: decide(token, SEARCH)


def drawing(gate: Gate, table: OwnedTable, world: World) -> Callable[[bytes], Permit | Denial]:
    """As a standalone verifier does it: decide, draw what is missing, decide again."""
    lessor = LeaseClient(table, MemoryLedger(), world.policy, "bench")

    def decide(token: bytes) -> Permit | Denial:
        verdict = gate.decide(token, SEARCH)
        if isinstance(verdict, Denial) and verdict.retry and verdict.grant is not None:
            lessor.draw(verdict.grant, PRICE, *clocks())
            verdict = gate.decide(token, SEARCH)
        return verdict

    return decide


def full_cache(gate: Gate, world: World, line: Line) -> None:
    """Fill the gate's token cache until it drops entries."""
    held = -1
    while (cached := gate.counters()["cached_tokens"]) > held:
        held = cached
        for _ in range(256):
            gate.decide(world.mint(line), SEARCH)


def cold(rounds: int) -> Group:
    """Tokens seen for the first time, against the signature alone."""
    world = World()
    line = world.line()
    table = private_table(SMALL, world.policy)
    open_line(table, line)
    fresh, full = (world.gate(table, holds=False) for _ in range(2))
    full_cache(full, world, line)
    expect(fresh.decide(world.mint(line), SEARCH))
    expect(full.decide(world.mint(line), SEARCH))
    tokens, others = ([world.mint(line) for _ in range(cold_calls(rounds))] for _ in range(2))
    cases = [
        libraries.bare(world, tokens, COLD_CALLS),
        once_each(KNOWN, standing(fresh), tokens),
        once_each(FULL_CACHE, standing(full), others),
    ]
    return measure("A token seen for the first time", cases, rounds, libraries.BARE)


def newcomers(rounds: int) -> Group:
    """A branch nobody has seen, with its draw, beside what other libraries do with its token."""
    world = World()
    table = private_table(SMALL._replace(branches=65_536), world.policy)
    draw = drawing(world.gate(table, holds=False), table, world)
    expect(draw(world.mint(world.line())))
    tokens = [world.mint(world.line()) for _ in range(cold_calls(rounds))]
    cases = [
        libraries.bare(world, tokens, COLD_CALLS),
        once_each(NEW_BRANCH, draw, tokens),
        libraries.openssl(world, tokens),
        libraries.joserfc(world, tokens),
        libraries.pyjwt(world, tokens),
    ]
    return measure(
        "A branch seen for the first time, and other libraries", cases, rounds, libraries.BARE
    )


def forged(token: bytes) -> bytes:
    """The token under a signature that is another one's: one bit of R differs."""
    head, _, signature = token.rpartition(b".")
    first = b"B" if signature[:1] == b"A" else b"A"
    return head + b"." + first + signature[1:]


def exhausted(table: OwnedTable, gate: Gate, world: World) -> bytes:
    """A token whose branch has spent its credits, and of which the ledger said so."""
    line = world.line()
    number = open_line(table, line, PRICE)
    token = world.mint(line)
    expect(gate.decide(token, SEARCH))
    table.begin_draw(number, PRICE)
    table.refuse(number, 0, PRICE, PRICE, PRICE)
    return token


def revoked(table: OwnedTable, world: World) -> bytes:
    """A token whose parent branch is revoked."""
    line = world.line()
    open_line(table, line)
    now, boot = clocks()
    key = ids.branch_key(CREW, line.parent)
    table.revoke(key, ids.crew_key(CREW), now + 60, 86_400, now, boot)
    return world.mint(line)


def refusals(rounds: int) -> Group:
    """What is refused, against a warm permit; a bad signature costs the signature every time."""
    world = World()
    line = world.line()
    table = private_table(SMALL, world.policy)
    open_line(table, line)
    token = world.mint(line)
    gate = world.gate(table, holds=False)
    spent, dead = exhausted(table, gate, world), revoked(table, world)
    garbage = world.random.randbytes(len(token))
    bad = [forged(token)] * COLD_CALLS
    expect(gate.decide(bad[0], SEARCH), Reason.INVALID_TOKEN)
    cases = [
        repeated(EMBEDDED, gate, token, SEARCH),
        repeated("out of scope", gate, token, PUBLISH, Reason.TOOL_NOT_ALLOWED),
        repeated("revoked (its parent)", gate, dead, SEARCH, Reason.BRANCH_REVOKED),
        repeated("credits exhausted", gate, spent, SEARCH, Reason.CREDITS_EXHAUSTED),
        repeated("no token at all: random bytes", gate, garbage, SEARCH, Reason.INVALID_TOKEN),
        Case("bad signature", libraries.repeated(standing(gate), bad, COLD_CALLS)),
        libraries.bare(world, [token] * COLD_CALLS, COLD_CALLS),
    ]
    return measure("Refusals", cases, rounds, EMBEDDED)
