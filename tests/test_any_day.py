"""What compares moments with the machine's clock does so on any day: on 29 February, and in 2038.

Each run is a process of its own whose wall clock is another; its tests take a few seconds. For a
day of your own: `faketime '2031-05-01' .venv/bin/pytest tests/unit`, with
FAKETIME_DONT_FAKE_MONOTONIC=1.
"""

import os
import shutil
import subprocess
import sys
from calendar import isleap
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TODAY = datetime.now(UTC)
# Where code under test asks for the time itself, or certificates are made.
FILES = [
    *("asgi/test_cut.py", "cli/test_check_ca.py", "cli/test_decommission.py", "cli/test_init.py"),
    *("cli/test_tokens.py", "control/test_desk.py", "control/test_mint.py"),
    *("issuer/test_client_auth.py", "pki/test_announcing.py", "pki/test_ending.py"),
    *("pki/test_intents.py", "pki/test_revocation_list.py", "supervisor/test_credentials.py"),
    "verifier/test_standalone.py",
]
LEAP_YEAR = next(year for year in count(TODAY.year + 2) if isleap(year))
DAYS = {
    "on 29 February": datetime(LEAP_YEAR, 2, 29, 23, 59, 30, tzinfo=UTC),  # ends while it runs
    "in 2038": datetime(2038, 1, 19, 3, 14, 0, tzinfo=UTC),  # 8 s before 31 bits are full
}


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")
@pytest.mark.parametrize("day", DAYS.values(), ids=list(DAYS))
def test_all_is_well(day: datetime) -> None:
    files = [f"tests/unit/{file}" for file in FILES]
    command = ["faketime", f"{day:%F %T}", sys.executable, "-m", "pytest", "-q", "--tb=short"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", *files],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]
