"""Runs the official conformance suite of MCP against a server, and reads what it found."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

from npm_programs import program, run_node

REVISIONS = ("2026-07-28", "2025-11-25")
SECONDS = 300.0  # a hang, not a slow machine
ATTEMPTS = 3  # some scenarios wait 0.8 s for an event, which a busy machine can miss
_FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

# By scenario and check, the status of each finding; a check can be made several times.
Findings = dict[tuple[str, str], list[str]]


def run_suite(url: str, revision: str, folder: Path, scenario: str = "") -> Findings:
    """Run all scenarios that a revision requires, and the optional ones; or one of them."""
    results = Path(mkdtemp(dir=folder))
    chosen = ["--requirements", revision]
    if scenario:
        chosen = ["--scenario", scenario, "--spec-version", revision, "--force"]
    words = ("server", "--url", url, *chosen, "-o", results)
    done = run_node(program("conformance"), *words, folder=folder, seconds=SECONDS)
    found: Findings = {}
    for file in sorted(results.glob("*/checks.json")):
        matched = _FOLDER.fullmatch(file.parent.name)
        assert matched, file
        for check in json.loads(file.read_text()):
            if check["status"] != "INFO":
                statuses = found.setdefault((matched["scenario"], check["id"]), [])
                statuses.append(check["status"])
    assert found, done.stdout + done.stderr
    return found


def differences(
    direct_url: str, through_url: str, revision: str, folder: Path, known: Mapping[str, str]
) -> dict[str, str]:
    """Return what differs between a server and the same server behind a gateway.

    A scenario that differs in a way that is not `known` runs again by itself, both ways, before it
    counts. The keys are `SCENARIO: CHECK`, the values the status at the server and through the
    gateway.
    """
    direct = run_suite(direct_url, revision, folder)
    through = run_suite(through_url, revision, folder)
    for _ in range(ATTEMPTS - 1):
        new = _compare(direct, through).items() - known.items()
        for scenario in {name.partition(":")[0] for name, _ in new}:
            _replace(direct, run_suite(direct_url, revision, folder, scenario), scenario)
            _replace(through, run_suite(through_url, revision, folder, scenario), scenario)
    return _compare(direct, through)


def _compare(direct: Findings, through: Findings) -> dict[str, str]:
    return {
        ": ".join(key): f"{_statuses(direct, key)}, {_statuses(through, key)}"
        for key in sorted(direct.keys() | through.keys())
        if direct.get(key) != through.get(key)
    }


def _statuses(found: Findings, key: tuple[str, str]) -> str:
    return "/".join(found.get(key, ["MISSING"]))


def _replace(found: Findings, newer: Findings, scenario: str) -> None:
    for key in [key for key in found if key[0] == scenario]:
        del found[key]
    found.update(newer)
