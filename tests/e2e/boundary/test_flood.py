"""Strangers at the door: what they cost the audit is bounded, and everybody is counted."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forged_certificates
from mtls_gateway import Boundary, bounded

from crewgate import limits

KNOCKS = 500


def test_a_flood_of_refused_handshakes_writes_few_lines(tmp_path: Path) -> None:
    """Beyond the burst only so many lines a second; the rest is summed up, and none is lost."""
    with bounded(tmp_path, workers=1) as boundary:
        issuing = forged_certificates.other_issuing()
        stranger = forged_certificates.leaf(
            issuing, identity=forged_certificates.bd(), name="\x1b[31m" + "x" * 50
        )
        files = forged_certificates.write(boundary.folder, stranger, issuing)
        context = boundary.context(files)
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            knocks = list(
                pool.map(lambda _: boundary.knock(files, 1, "x", context=context), range(KNOCKS))
            )
        seconds = time.monotonic() - begun
        assert {knock.answer for knock in knocks} == {b""}
        boundary.stop()
        lines = boundary.connections()
        most = limits.peer_lines_burst + limits.peer_lines_per_second * seconds + 1
        assert limits.peer_lines_burst <= len(lines) <= most
        assert "\x1b" not in str(lines[0]["subject"])
        assert len(lines) + _counted(boundary) == KNOCKS


def _counted(boundary: Boundary) -> int:
    return sum(
        record["count"]
        for record in boundary.records()
        if record["kind"] == "refusals" and record["reason"] == "unknown-authority"
    )
