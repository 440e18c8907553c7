"""What compares moments with the machine's clock does so on any day: on 29 February, after 2038.

The run is a process of its own whose wall clock is another. It has the files of unit tests that ask
for the time of day themselves, and those in `FILES`, whose subject asks for it. Files that get a
moment from `tests/support` alone are left out, since they would take minutes. But each module there
that asks is imported by a file of the run, or is for whole gateways. Tests of whole gateways are
left out too: the parts of a gateway that compare moments have unit tests.

For a day of your own: `faketime '2031-05-01' .venv/bin/pytest tests/unit`, with
FAKETIME_DONT_FAKE_MONOTONIC=1.
"""

import os
import re
import shutil
import subprocess
import sys
from calendar import isleap
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
UNIT, SUPPORT = TESTS / "unit", TESTS / "support"
TODAY = datetime.now(UTC)
ASKED = re.compile(
    r"\btime\.(?:time|time_ns|gmtime|localtime|ctime|strftime)\b|\bCLOCK_REALTIME\b"
    r"|\b(?:date|datetime)\.(?:now|utcnow|today)\b"
)
# The search would not find a clock by another name.
RENAMED = re.compile(
    r"^ *(?:from time import|import time as|from datetime import.* as )", re.MULTILINE
)
# Where only the code under test asks for the time, or certificates are made.
FILES = {
    *(
        "asgi/test_cut.py",
        "cli/commands/test_decommission.py",
        "cli/commands/test_init.py",
        "cli/test_tokens.py",
    ),
    *("issuer/test_client_auth.py", "ca/test_revocation_propagation.py"),
    "ca/test_decommission_intents.py",
    *("ca/test_crl_replica.py", "gossip/test_ledger_marks.py", "upstream/test_transport.py"),
    "verifier/test_standalone.py",
}
# Modules that ask for the time, for tests of whole gateways alone.
WHOLE_GATEWAYS = {
    *("dpop_mcp_client", "mcp_everything_tasks", "mtls_gateway", "power_loss", "power_writer"),
    *("soak_population", "fake_page_server", "page_examples"),
}
IMPORTED = re.compile(r"^ *(?:from|import) (\w+)", re.MULTILINE)
UNUSED = ("cacheprovider", "xdist", "schemathesis")  # plugins
FULL = 2038  # when 31 bits of seconds are
LEAP_YEAR = next(filter(isleap, count(max(TODAY.year, FULL) + 2)))
# It ends while the tests run, and a CA that is made then ends after 2049, where dates of X.509 have
# another form (RFC 5280, section 4.1.2.5).
DAY = datetime(LEAP_YEAR, 2, 29, 23, 59, 30, tzinfo=UTC)


def chosen() -> list[Path]:
    """The files that are run."""
    return sorted({UNIT / file for file in FILES} | set(filter(asks, UNIT.rglob("test_*.py"))))


def asks(path: Path) -> bool:
    """Whether a file asks for the time of day itself."""
    return ASKED.search(path.read_text()) is not None


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")
def test_all_is_well() -> None:
    command = ["faketime", f"{DAY:%F %T}", sys.executable, "-m", "pytest", "-q", "--tb=short"]
    ended = subprocess.run(
        [*command, *(word for name in UNUSED for word in ("-p", f"no:{name}")), *chosen()],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]


def test_no_clock_has_another_name() -> None:
    """The search would not find it."""
    assert not [path for path in TESTS.rglob("*.py") if RENAMED.search(path.read_text())]


def test_every_module_that_asks_for_the_time_is_used_on_other_days() -> None:
    """By a file of which something is run, or by what that imports."""
    used: set[Path] = set()
    new = set(chosen())
    new |= {folder / "conftest.py" for path in new for folder in path.parents}
    while new := {path for path in new - used if path.exists()}:
        used |= new
        named = {name for path in new for name in IMPORTED.findall(path.read_text())}
        new = {SUPPORT / f"{name}.py" for name in named}
    asking = set(filter(asks, SUPPORT.glob("*.py")))
    assert {path.stem for path in asking - used} == WHOLE_GATEWAYS
