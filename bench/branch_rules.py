"""Rules on branches: what a call costs that they judge and count, beside one without rules.

With the built-in rules, and calls that differ, as those of an agent do that makes progress.
"""

import json

from msgspec import structs

from bench.decisions import WARM_CALLS
from bench.sampling import Case, Group, measure
from bench.world import SEARCH, SMALL, Line, World, expect, open_line, private_table
from crewgate._native.call_digester import CallDigester
from crewgate._native.gate import Gate
from crewgate._native.table import Table
from crewgate.config.rules import LoopsConfig, loop_rules
from crewgate.core.rules.rule import LoopRules

NONE = "no rule: decide + settle"
JUDGED = "rules: decide + note the answer + settle"
DIGEST = "the digest of a GET with a query"
SMALL_DIGEST = "the digest of a POST with a small JSON object"
JSON_DIGEST = "the digest of a POST with 1 KiB of JSON"
ANSWER_DIGEST = "the digest of an answer of 1 KiB"
_DIFFERENT = 64
_FIRST = 1_000  # digests of calls; 0 and 1 stand for none
_ANSWER = 77


def _opened(world: World, line: Line, rules: LoopRules | None) -> tuple[Table, Gate]:
    policy = world.policy if rules is None else structs.replace(world.policy, loops=rules)
    table = private_table(SMALL, policy)
    open_line(table, line)
    gate = Gate(table)
    gate.load(policy)
    return table, gate


def _settled(gate: Gate, token: bytes) -> Case:
    expect(gate.decide(token, SEARCH))

    def batch() -> int:
        decide = gate.decide
        for _ in range(WARM_CALLS):
            decide(token, SEARCH).settle()  # type: ignore[union-attr]
        return WARM_CALLS

    return Case(NONE, batch)


def _judged(gate: Gate, token: bytes) -> Case:
    expect(gate.decide(token, SEARCH))

    def batch() -> int:
        decide = gate.decide
        for number in range(WARM_CALLS):
            permit = decide(token, SEARCH, call=_FIRST + number % _DIFFERENT)
            permit.note_answer(_ANSWER, status=200)  # type: ignore[union-attr]
            permit.settle()  # type: ignore[union-attr]
        return WARM_CALLS

    return Case(JUDGED, batch)


def _digested(name: str, table: Table, body: bytes) -> Case:
    digester = CallDigester()

    def batch() -> int:
        of = digester.call
        for _ in range(WARM_CALLS):
            of(table, b"POST" if body else b"GET", b"/search", b"n=17", body)
        return WARM_CALLS

    return Case(name, batch)


def _digested_answer(table: Table) -> Case:
    digester, answer = CallDigester(), b"k" * 1024

    def batch() -> int:
        of = digester.answer
        for _ in range(WARM_CALLS):
            of(table, answer)
        return WARM_CALLS

    return Case(ANSWER_DIGEST, batch)


def document() -> bytes:
    """A JSON object of 1 KiB, whose members are not in order."""
    members = {f"member{number * 7 % 16:02}": f"{number:<50}" for number in range(16)}
    return json.dumps(members, separators=(",", ":")).encode()


def small_document() -> bytes:
    """A JSON object as the arguments of a tool have."""
    return b'{"query":"otters in rivers","language":"en","limit":10,"page":3}'


def judged(rounds: int) -> Group:
    """Calls of one branch, one after the other."""
    world = World()
    line = world.line()
    token = world.mint(line)
    table, ruled = _opened(world, line, loop_rules(LoopsConfig(mode="observe"), ()))
    cases = [
        _settled(_opened(world, line, None)[1], token),
        _judged(ruled, token),
        _digested(DIGEST, table, b""),
        _digested(SMALL_DIGEST, table, small_document()),
        _digested(JSON_DIGEST, table, document()),
        _digested_answer(table),
    ]
    return measure("Rules on branches", cases, rounds, NONE)
