"""The hop while `[export]` sends each call to a receiver, beside the same gateway without it.

Both start a trace for each call, so that the receiver gets a span and a log record of each. The CPU
is that of all processes of the gateway, with the export process. The times are those that a caller
sees.
"""

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from bench.hop.arena import Arena, running
from bench.hop.figures import CPU, P50, P99, RATE, Measured, interleaved
from bench.hop.gateways import CREWGATE
from bench.hop.groups.group import Group
from bench.hop.groups.share import begin, prove
from bench.hop.load import Load, Shape, bearer
from bench.hop.processes import end, start, wait_for_port
from bench.hop.stage import arrange, tokens
from bench.hop.tools import PAGE
from crewgate.demo.ports import reserve

EXPORTING = "with an exporter"
SHAPE = Shape(16, 1)
RATES = (2_000, 5_000)  # a second
TRACES = "\n[traces]\nsample = 1.0\n"
RECEIVER = '\n[export.receiver]\nformat = "otlp"\nurl = "http://127.0.0.1:{port}"\n'


def measure(arena: Arena) -> list[Measured]:
    """Both gateways at each rate, interleaved."""
    gateways, loads = [], {}
    with ExitStack() as stack:
        port, log = reserve(), arena.folder / "receiver.log"
        receiver = start([sys.executable, "-m", "bench.hop.receiver", str(port)], -1, log)
        stack.callback(end, receiver)
        wait_for_port(receiver, port, log)
        for place, name in enumerate((CREWGATE, EXPORTING)):
            stage = arrange(arena.folder / f"export-{place}", arena.servers)
            with stage.file.open("a") as file:
                file.write(TRACES + (RECEIVER.format(port=port) if name == EXPORTING else ""))
            token = tokens(stage).tool
            gateway = stack.enter_context(running(partial(begin, stage, name, ())))
            prove(arena, gateway, token)
            gateways.append(gateway)
            loads[name] = bearer(token)
        cases = [
            arena.case(f"{rate:,} a second", gateway, replace(load, rate=rate))
            for rate in RATES
            for gateway in gateways
            for load in [Load(SHAPE, PAGE.path, loads[gateway.name])]
        ]
        return interleaved(cases, arena.rounds, arena.requests)


GROUP = Group(
    "export",
    "With and without an export of each call",
    measure,
    figures=(CPU, replace(RATE, ratio=""), P50, P99),
    rounds=0.6,
    requests=0.2,
    usual=False,
)
