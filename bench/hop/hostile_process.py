"""Runs a program of hostile peers beside a measurement, on the last core.

The program reads a plan from its input, as JSON on one line, and prints "ready" when the peers have
begun. At the next line it ends them, and prints their counts as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.hop.processes import end, on_core


@contextmanager
def hostile(
    module: str, plan: dict[str, Any], name: str, end_seconds: float
) -> Iterator[dict[str, Any]]:
    """Run `module` for as long as this lasts; fill the value with the counts of its peers.

    Raises SystemExit, which names the peers by `name`, if they do not begin, or do not end within
    `end_seconds`.
    """
    toll: dict[str, Any] = {}
    with on_core(-1):
        peers = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    try:
        if peers.stdin is None or peers.stdout is None:
            raise AssertionError("both are pipes")
        peers.stdin.write(json.dumps(plan).encode() + b"\n")
        peers.stdin.flush()
        if peers.stdout.readline() != b"ready\n":
            raise SystemExit(f"bench: {name} did not begin")
        yield toll
        toll.update(json.loads(peers.communicate(b"\n", timeout=end_seconds)[0]))
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"bench: {name} did not end within {end_seconds:g} s") from error
    finally:
        end(peers)
