"""Normal traffic beside 200 slow-loris connections, 200 slow readers and a large upload.

Whose answers come late because of others? The traffic is at a fixed rate, so that nobody is late
because of himself; it must all succeed, and so must each upload: of 1 GiB, unless the sample is
shorter than usual. The Python stack is left out: it has no tools for large bodies here.
"""

from dataclasses import asdict, replace

from bench.hop.arena import Arena
from bench.hop.figures import (
    MEMORY,
    P50,
    P99,
    P999,
    RATE,
    Case,
    Figure,
    Measured,
    Sample,
    find,
    interleaved,
)
from bench.hop.gateways import CREWGATE, STACK, Gateway
from bench.hop.groups.group import Group, Results
from bench.hop.hostile_peers import Plan
from bench.hop.hostile_process import hostile
from bench.hop.load import Load, Shape
from bench.hop.processes import busiest, forget_peak, resident_megabytes, tree
from bench.hop.tools import HUGE, PAGE, SWALLOW
from bench.report import Goal

PEERS = "bench.hop.hostile_peers"
SHAPE = Shape(16, 1)
REQUESTS_A_SECOND = 1_000
LORIS = READERS = 200
UPLOAD_BYTES_A_REQUEST = 2**30 // 8_000  # 1 GiB in a sample of the usual length
QUIET, BESIDE = "alone", "beside them"
LAST_UPLOAD_SECONDS = 120
LATER = 2.0  # times the p99 alone, at most
GROWTH = 100  # MB at most: a quarter of one for each hostile connection
UPLOADED = Figure("uploaded_megabytes_per_second", "upload MB/s", "{:.0f}")
CUT = Figure("slow_connections_cut", "cut", "{:.0f}")
UPLOADS = Figure("uploads", "uploads", "{:.0f}")


def attacked(arena: Arena, gateway: Gateway, quiet: Case) -> Case:
    """The same traffic, beside them."""
    most, token = arena.stage.upload_bytes, arena.tokens.tool

    def take(requests: int) -> Sample:
        size = min(most, requests * UPLOAD_BYTES_A_REQUEST)
        plan = Plan(gateway.port, token, HUGE.path, SWALLOW.path, size, LORIS, READERS)
        with hostile(PEERS, asdict(plan), "the hostile peers", LAST_UPLOAD_SECONDS) as toll:
            found = quiet.take(requests)
        if toll["refused"] or not toll["uploads"]:
            ends = toll["refused"][:3]
            raise SystemExit(f"bench: an upload of {size} bytes through {gateway.name}: {ends}")
        return {
            **found,
            UPLOADS.name: toll["uploads"],
            UPLOADED.name: toll["uploaded_bytes"] / toll["seconds"] / 1e6,
            CUT.name: toll["cut"],
        }

    return Case(Measured(BESIDE, gateway.name), take)


def alone(gateway: Gateway, case: Case) -> Case:
    """With the figures that the other one has."""

    def take(requests: int) -> Sample:
        nothing = dict.fromkeys((figure.name for figure in (UPLOADS, UPLOADED, CUT)), 0.0)
        return {**case.take(requests), **nothing}

    return Case(Measured(QUIET, gateway.name), take)


def peaking(gateway: Gateway, case: Case) -> Case:
    """The same case, and the most that the gateway held in memory meanwhile."""

    def take(requests: int) -> Sample:
        pids = tree(gateway.process.pid)
        forget_peak(pids)
        return {**case.take(requests), MEMORY.name: resident_megabytes(busiest(pids), "VmHWM")}

    return Case(case.measured, take)


def measure(arena: Arena) -> list[Measured]:
    """Alone and beside them, gateway after gateway."""
    load = Load(SHAPE, PAGE.path, rate=REQUESTS_A_SECOND)
    gateways = [gateway for gateway in arena.gateways if gateway.name != STACK]
    quiet = [arena.case(QUIET, gateway, load) for gateway in gateways]
    pairs = list(zip(gateways, quiet, strict=True))
    cases = [peaking(gateway, alone(gateway, case)) for gateway, case in pairs]
    cases += [peaking(gateway, attacked(arena, gateway, case)) for gateway, case in pairs]
    return interleaved(cases, arena.rounds, arena.requests)


def goals(results: Results) -> list[Goal]:
    """Of Crewgate."""
    before, beside = (find(results, case, CREWGATE) for case in (QUIET, BESIDE))
    if before is None or beside is None:
        return []
    grown = beside.spread(MEMORY).high - before.spread(MEMORY).low
    return [
        Goal("p99 beside them over p99 alone", LATER, beside.ratio(P99, before).median, "×"),
        Goal("memory grown beside them", GROWTH, grown, "MB"),
    ]


GROUP = Group(
    "fairness",
    f"{REQUESTS_A_SECOND:,} requests a second, {LORIS} slow-loris, {READERS} slow readers, upload",
    measure,
    figures=(replace(RATE, ratio=""), P50, P99, P999, MEMORY, UPLOADED, UPLOADS, CUT),
    goals=goals,
    rounds=0.6,
    requests=0.4,
    usual=False,
)
