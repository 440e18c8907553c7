"""A flood on the control port, and verdicts and revocations beside it: ratios within one run."""

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import control_flood
import httpx
from control_site import ControlSite
from installation import wait_until
from revocation_targets import branch
from search_depth import deep

from crewgate.ipc.admin_client import AdminClient

ROUNDS = deep(100, 300)
# Two cores of a shared machine: what waits for the control process waits ten times as long.
RATIO_MAX = 5.0


class Figures(NamedTuple):
    """Medians in milliseconds."""

    verdict: float
    refusal: float
    revocation: float


def median_ms(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        took.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(took)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15), in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(site: ControlSite, token: str) -> Figures:
    """Calls that are admitted, calls that are not, and revocations by the owner's door."""
    url = f"https://127.0.0.1:{site.port}"
    with (
        httpx.Client(verify=site.context(), base_url=url, timeout=30, trust_env=False) as client,
        AdminClient(site.folder / "state") as owner,
    ):

        def call(bearer: str, status: int) -> None:
            answer = client.post("/search", json={}, headers={"authorization": f"Bearer {bearer}"})
            assert answer.status_code == status

        return Figures(
            median_ms(lambda: call(token, 200)),
            median_ms(lambda: call("none", 401)),
            median_ms(lambda: owner.revoke([branch(str(uuid.uuid4()), "bd")])),
        )


def test_a_flood_on_the_control_port_delays_nobody_else(site: ControlSite) -> None:
    """Handshakes with and without certificates, and /v1/tree as fast as it comes.

    Every call has its verdict and every revocation its receipt, in times of the same order; the
    agent, who is asked for the tree, works a small part of what the control process does.
    """
    token = site.run_token("finance")["access_token"]
    before = measure(site, token)
    agent, control = site.children("agent")[0], site.control_pid()
    flood = subprocess.Popen(
        [sys.executable, control_flood.__file__, str(site.port + 2), str(site.root),
         str(site.folder / "bd")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert flood.stdin is not None
    assert flood.stdout is not None
    try:
        begun = cpu_seconds(control)
        wait_until(lambda: cpu_seconds(control) - begun > 0.5)
        started = cpu_seconds(agent), cpu_seconds(control)
        during = measure(site, token)
        with site.api("ada") as ada:
            answer = ada.post("/v1/revocations", json={"branch": str(uuid.uuid4()), "crew": "bd"})
            assert answer.status_code == 200
        worked = cpu_seconds(agent) - started[0], cpu_seconds(control) - started[1]
    finally:
        flood.stdin.close()
        counts = json.loads(flood.stdout.read())
        flood.stdout.close()
        flood.wait()
    after = measure(site, token)
    print(json.dumps({"before": before, "during": during, "after": after, "cpu": worked}), counts)
    assert counts["200"] > 20, counts
    assert counts["good"] > 20, counts
    assert counts["none"] > 20, counts
    for name in Figures._fields:
        usual = max(getattr(before, name), getattr(after, name))
        assert getattr(during, name) < RATIO_MAX * usual, (name, before, during, after)
    assert site.control_pid() == control
