"""Limits on calls: what a verdict costs that counts in some, beside the same one without limits."""

from msgspec import structs

from bench.decisions import WARM_CALLS, repeated
from bench.sampling import Case, Group, measure
from bench.world import SEARCH, SMALL, Line, World, clocks, expect, open_line
from crewgate._native.gate import Gate
from crewgate._native.limit_words import give_words
from crewgate._native.table_owner import OwnedTable
from crewgate.core.policy.call_limits import CallLimit, LimitScopes
from crewgate.core.reasons import Reason

NONE = "no limit: decide + settle"
_OFTEN = 10**9  # calls a second, which no case makes


def _rate(per: str, calls: int = _OFTEN) -> CallLimit:
    return CallLimit(name=per, per=per, calls=calls, burst=calls)  # type: ignore[arg-type]


def _gate(world: World, line: Line, *found: CallLimit) -> Gate:
    """A worker's gate on a table of its own, with these limits in force."""
    policy = structs.replace(world.policy, limits=found)
    table = OwnedTable.private(SMALL)
    give_words(table, *LimitScopes.of(policy).needed(), clocks()[1])
    table.set_policy_generation(policy.generation)
    open_line(table, line)
    gate = Gate(table)
    gate.load(policy)
    return gate


def _settled(name: str, gate: Gate, token: bytes) -> Case:
    expect(gate.decide(token, SEARCH))

    def batch() -> int:
        decide = gate.decide
        for _ in range(WARM_CALLS):
            decide(token, SEARCH).settle()  # type: ignore[union-attr]
        return WARM_CALLS

    return Case(name, batch)


def limited(rounds: int) -> Group:
    """Calls of one branch, one after the other."""
    world = World()
    line = world.line()
    token = world.mint(line)
    at_once = CallLimit(name="few", per="crew", concurrent=16)
    spent = _gate(world, line, CallLimit(name="slow", per="crew", calls=1, seconds=86_400))
    spent.decide(token, SEARCH).settle()  # type: ignore[union-attr]
    rates = [_rate(per) for per in ("tool", "crew", "role", "branch")]
    cases = [
        _settled(NONE, _gate(world, line), token),
        _settled("a rate per crew", _gate(world, line, _rate("crew")), token),
        _settled("a rate per branch", _gate(world, line, _rate("branch")), token),
        _settled("four rates", _gate(world, line, *rates), token),
        _settled("16 calls at once", _gate(world, line, at_once), token),
        _settled("a rate and 16 at once", _gate(world, line, _rate("crew"), at_once), token),
        repeated("refused by a rate", spent, token, SEARCH, Reason.RATE_LIMITED),
    ]
    return measure("Limits on calls", cases, rounds, NONE)
