"""A flood of what must be refused: no token, bytes that are none, a bad signature, no scope.

Nothing of it reaches the tool server. A sample has a length, however many are answered in it: a
gateway may slow down or close a connection that shows bad tokens. The flood comes back on another
one, whose handshake is charged like all else.
"""

from functools import partial

from bench.hop import own_load
from bench.hop.arena import Arena
from bench.hop.client import Plan
from bench.hop.figures import CONNECTED, CORE, CPU, P99, RATE, Case, Measured, Sample, interleaved
from bench.hop.gateways import Gateway
from bench.hop.groups.group import Group
from bench.hop.load import Shape
from bench.hop.tools import PAGE

SHAPE = Shape(16, 8)
REQUESTS_A_SECOND = 4_000  # turns a number of requests into the length of a sample
SECONDS_MIN = 0.2


def badly_signed(token: str) -> str:
    """The token with another signature, which has the form of one."""
    signed, _, signature = token.rpartition(".")
    turned = {"A": "B", "B": "A"}
    return f"{signed}.{turned.get(signature[9], 'A').join((signature[:9], signature[10:]))}"


def flood(gateway: Gateway, token: str, requests: int) -> Sample:
    """One sample."""
    plan = Plan(
        gateway.port,
        PAGE.path,
        (token,),
        SHAPE.connections,
        SHAPE.streams,
        seconds=max(SECONDS_MIN, requests / REQUESTS_A_SECOND),
        again=True,
    )
    return own_load.sample(gateway.process.pid, plan, refused=True)


def measure(arena: Arena) -> list[Measured]:
    """All that judge."""
    shown = {
        "no token: 401": "",
        "no token's form: 401": "x" * 40,
        "bad signature: 401": badly_signed(arena.tokens.tool),
        "out of scope: 403": arena.tokens.stranger,
    }
    cases = [
        Case(Measured(title, gateway.name), partial(flood, gateway, token))
        for title, token in shown.items()
        for gateway in arena.gateways
        if gateway.judges
    ]
    return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "refusals",
    f"A flood of refusals, {SHAPE.name}",
    measure,
    figures=(CPU, CORE, RATE, P99, CONNECTED),
    rounds=0.6,
    requests=0.15,
)
