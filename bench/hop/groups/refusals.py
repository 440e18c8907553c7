"""A flood of what must be refused: no token, bytes that are none, a bad signature, no scope.

Nothing of it reaches the tool server. A gateway may close a connection that shows too many bad
signatures: then fewer are answered, and the CPU of all goes to those.
"""

from bench.hop.arena import Arena
from bench.hop.figures import ANSWERED, USUAL, Measured, interleaved
from bench.hop.groups.group import Group
from bench.hop.load import Load, Shape, bearer
from bench.hop.tools import PAGE

SHAPE = Shape(16, 8)
NONSENSE = "accept: */*"  # a field that says nothing, so that there is one


def badly_signed(token: str) -> str:
    """The token with another signature, which has the form of one."""
    signed, _, signature = token.rpartition(".")
    turned = {"A": "B", "B": "A"}
    return f"{signed}.{turned.get(signature[9], 'A').join((signature[:9], signature[10:]))}"


def measure(arena: Arena) -> list[Measured]:
    """All that judge."""
    tokens = arena.tokens
    shown = {
        "no token: 401": (NONSENSE,),
        "no token's form: 401": bearer("x" * 40),
        "bad signature: 401": bearer(badly_signed(tokens.tool)),
        "out of scope: 403": bearer(tokens.stranger),
    }
    cases = [
        arena.case(title, gateway, Load(SHAPE, PAGE.path, fields, refused=True))
        for title, fields in shown.items()
        for gateway in arena.gateways
        if gateway.judges
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "refusals",
    f"A flood of refusals, {SHAPE.name}",
    measure,
    figures=(*USUAL, ANSWERED),
    rounds=0.6,
    requests=0.5,
)
