"""Load by the own client (client.py), in a process on the last core; the figures that it gives."""

import json
import sys
from dataclasses import asdict
from typing import Any

from bench.hop.client import Plan
from bench.hop.figures import CONNECTED, CORE, CPU, OTHER, RATE, Sample, times
from bench.hop.load import ran
from bench.hop.processes import cpu_seconds, tree


def run(plan: Plan) -> dict[str, Any]:
    """What came of it."""
    words = json.dumps(asdict(plan))
    done = ran([sys.executable, "-m", "bench.hop.client"], words)
    if done.returncode:
        raise SystemExit(f"bench: the own client: {done.stderr.strip()[-500:]}")
    tally: dict[str, Any] = json.loads(done.stdout)
    return tally


def sample(pid: int, plan: Plan, *, refused: bool = False, spared: float = 0.0) -> Sample:
    """Load the gateway whose first process is `pid`.

    Ends the group unless all is answered with 200, but for a share that is `spared`; of a flood of
    what is `refused`, unless nothing is.
    """
    pids = tree(pid)
    before = cpu_seconds(pids)
    tally = run(plan)
    spent = cpu_seconds(pids) - before
    good, other, lost, seconds = (tally[key] for key in ("good", "other", "lost", "seconds"))
    answered = good + other
    if not answered or (good if refused else lost or other > spared * answered):
        raise SystemExit(f"bench: {plan.path}: {good} answered with 200, {other} not, {lost} lost")
    return {
        CPU.name: spent / answered * 1e6,
        CORE.name: spent / seconds * 100,
        RATE.name: answered / seconds,
        CONNECTED.name: tally["connected"],
        OTHER.name: other,
        **times(tally["milliseconds"]),
    }
