"""Runs the official conformance suite of MCP against a server, and reads what it found."""

import json
import re
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from npm_programs import program, run_node

REVISIONS = ("2026-07-28", "2025-11-25")
ATTEMPTS = 3  # some scenarios wait 0.8 s for an event, which a busy machine can miss
_FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


class Check(NamedTuple):
    """One finding of the suite; a scenario may find the same twice."""

    scenario: str
    name: str
    status: str


def run_suite(url: str, revision: str, folder: Path, scenario: str = "") -> Counter[Check]:
    """Run all scenarios that a revision requires, and the optional ones; or one of them.

    Returns:
        How often each check had each status.
    """
    results = Path(mkdtemp(dir=folder))
    chosen = ["--requirements", revision]
    if scenario:
        chosen = ["--scenario", scenario, "--spec-version", revision, "--force"]
    words = ("server", "--url", url, *chosen, "-o", results)
    done = run_node(program("conformance"), *words, folder=folder)
    found: Counter[Check] = Counter()
    for file in results.glob("*/checks.json"):
        matched = _FOLDER.fullmatch(file.parent.name)
        assert matched, file
        for check in json.loads(file.read_text()):
            found[Check(matched["scenario"], check["id"], check["status"])] += 1
    assert found, done.stdout + done.stderr
    return found


class Difference(NamedTuple):
    """Checks of one scenario that ended otherwise through the gateway."""

    direct: Counter[Check]
    through: Counter[Check]


def compare(direct_url: str, through_url: str, revision: str, folder: Path) -> Difference:
    """Return what differs between a server and the same server behind a gateway.

    A scenario that differs runs again by itself, both ways, before it counts.
    """
    direct = run_suite(direct_url, revision, folder)
    through = run_suite(through_url, revision, folder)
    for _ in range(ATTEMPTS - 1):
        for scenario in _scenarios(Difference(direct - through, through - direct)):
            _replace(direct, run_suite(direct_url, revision, folder, scenario), scenario)
            _replace(through, run_suite(through_url, revision, folder, scenario), scenario)
    return Difference(direct - through, through - direct)


def _scenarios(found: Difference) -> set[str]:
    return {check.scenario for checks in found for check in checks}


def _replace(checks: Counter[Check], newer: Counter[Check], scenario: str) -> None:
    for check in [check for check in checks if check.scenario == scenario]:
        del checks[check]
    checks.update(newer)
