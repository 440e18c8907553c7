"""HTTP/2 conformance, by an independent suite: h2spec, if somebody has put it on the path."""

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from client_gateway import ClientWorld

pytestmark = pytest.mark.skipif(
    not shutil.which("h2spec"),
    reason="h2spec is not on the path (no registry has it; build it from its sources)",
)

# What nghttp2 does otherwise than h2spec, which tests RFC 7540.
_ENDED = "a frame of a stream that has ended both ways, or was passed over, is ignored"
_PRIORITY = "priorities are not read any more, malformed ones neither (RFC 9113 §5.3.2)"
DEVIATIONS = {
    "half closed (remote): Sends a DATA frame": _ENDED,
    "half closed (remote): Sends a HEADERS frame": _ENDED,
    "closed: Sends a DATA frame after sending RST_STREAM frame": _ENDED,
    "closed: Sends a HEADERS frame after sending RST_STREAM frame": _ENDED,
    "closed: Sends a DATA frame": _ENDED,
    "closed: Sends a HEADERS frame": _ENDED,
    "Sends stream identifier that is numerically smaller than previous": _ENDED,
    'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state': _ENDED,
    "Sends PRIORITY frame that depend on itself": _PRIORITY,
    "Sends a PRIORITY frame with 0x0 stream identifier": _PRIORITY,
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a "
    "stream": "a stream's error may end the connection (RFC 9113 §5.4.1)",
}


def test_h2spec(world: ClientWorld, tmp_path: Path) -> None:
    """All of its cases pass, strict ones too, but for those named here."""
    report = tmp_path / "report.xml"
    path = "/.well-known/oauth-protected-resource"
    subprocess.run(
        ["h2spec", "-t", "-k", "-S", "-p", str(world.port), "-P", path, "-j", str(report)],
        capture_output=True,
        check=False,
        timeout=240,
    )
    cases = list(ET.parse(report).iter("testcase"))
    assert len(cases) > 140
    failed = {
        case.get("classname", "") for case in cases if case.find("failure") is not None
        or case.find("error") is not None
    }  # fmt: skip
    assert failed <= DEVIATIONS.keys()
