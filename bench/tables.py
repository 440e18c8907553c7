"""The table at its largest beside the same table empty; and how fast its owner changes it.

Random access goes over thousands of branches, each with ancestors and a process of its own, in an
order that no prefetcher knows: every look misses the processor's caches as it would in service.
"""

from typing import Any

from bench.decisions import WARM_CALLS
from bench.libraries import slices
from bench.sampling import WARMING_ROUNDS, Case, Group, measure
from bench.world import (
    CREW,
    LARGE,
    PRICE,
    SEARCH,
    SMALL,
    World,
    clocks,
    expect,
    open_line,
    open_record,
    private_table,
)
from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids

REVOCATIONS = 1_000_000
BRANCHES = 250_000
SPREAD = 4_096  # branches of the random access; the token cache holds them all
EMPTY_ONE, FULL_ONE = "one branch, empty table", "one branch, full table"
EMPTY_MANY, FULL_MANY = "random branches, empty table", "random branches, full table"
OWNER_CALLS = 200


def revoke_many(table: OwnedTable, world: World, count: int) -> None:
    """Live revocations of keys that no token has."""
    now, boot = clocks()
    crew = ids.crew_key(CREW)
    for _ in range(count):
        table.revoke(world.random.randbytes(16), crew, now, limits.branch_memory_seconds, now, boot)


def open_many(table: OwnedTable, world: World, total: int) -> None:
    """Open roots without leases until the table has `total` records."""
    crew = table.find(ids.crew_key(CREW))
    for _ in range(total - table.counts()["branches"]):
        open_record(table, world.random.randbytes(16), (crew,), bytes(16))


def one(name: str, gate: Gate, token: bytes) -> Case:
    """The same branch again and again."""
    expect(gate.decide(token, SEARCH))

    def batch() -> int:
        decide: Any = gate.decide  # a permit, as was made sure
        for _ in range(WARM_CALLS):
            decide(token, SEARCH).settle()
        return WARM_CALLS

    return Case(name, batch)


def many(name: str, gate: Gate, tokens: list[bytes]) -> Case:
    """All branches in one random order, each known to the gate already."""
    for token in tokens:
        expect(gate.decide(token, SEARCH))
    pieces = slices(tokens, WARM_CALLS // 4)

    def batch() -> int:
        decide: Any = gate.decide  # a permit, as was made sure
        piece = next(pieces)
        for token in piece:
            decide(token, SEARCH).settle()
        return len(piece)

    return Case(name, batch)


def sizes(rounds: int) -> tuple[Group, float]:
    """The comparison, and the full table's size in MB (10^6 bytes)."""
    world = World()
    empty, full = private_table(LARGE, world.policy), private_table(LARGE, world.policy)
    lines = [world.line() for _ in range(SPREAD)]
    for table in (empty, full):
        for line in lines:
            open_line(table, line)
    revoke_many(full, world, REVOCATIONS)
    open_many(full, world, BRANCHES)
    tokens = [world.mint(line) for line in lines]
    world.random.shuffle(tokens)
    gates = world.gate(empty, holds=True), world.gate(full, holds=True)
    cases = [
        one(EMPTY_ONE, gates[0], tokens[0]),
        one(FULL_ONE, gates[1], tokens[0]),
        many(EMPTY_MANY, gates[0], tokens),
        many(FULL_MANY, gates[1], tokens),
    ]
    title = f"Decide + settle, {REVOCATIONS:,} revocations and {BRANCHES:,} branches or none"
    pairs = {FULL_ONE: EMPTY_ONE, FULL_MANY: EMPTY_MANY}
    return measure(title, cases, rounds, pairs), full.size / 1e6


def owner(rounds: int) -> Group:
    """What the agent does to the table, one whole transaction a call."""
    world = World()
    calls = (rounds + WARMING_ROUNDS) * OWNER_CALLS
    room = 1 << (2 * calls - 1).bit_length()
    geometry = SMALL._replace(branches=room, revocations=room)
    table = private_table(geometry, world.policy)
    crew = open_record(table, ids.crew_key(CREW), (), bytes(16))
    number = open_record(table, ids.branch_key(CREW, world.line().branch), (crew,), bytes(16))
    revocable = [world.random.randbytes(16) for _ in range(calls)]
    openable = [world.random.randbytes(16) for _ in range(calls)]
    owner_key = ids.crew_key(CREW)

    def revoke() -> int:
        now, boot = clocks()
        for _ in range(OWNER_CALLS):
            table.revoke(revocable.pop(), owner_key, now, 86_400, now, boot)
        return OWNER_CALLS

    def open_branch() -> int:
        for _ in range(OWNER_CALLS):
            open_record(table, openable.pop(), (crew,), bytes(16))
        return OWNER_CALLS

    def draw() -> int:
        for _ in range(OWNER_CALLS):
            table.begin_draw(number, PRICE)
            table.grant(number, PRICE)
        return OWNER_CALLS

    def take_back() -> int:
        for _ in range(OWNER_CALLS):
            table.take_back(number, PRICE)
        return OWNER_CALLS

    cases = [
        Case("revoke", revoke),
        Case("open a branch", open_branch),
        Case("begin a draw and grant it", draw),
        Case("take credit back", take_back),
    ]
    return measure("The agent's work on the table", cases, rounds)
