"""What compares moments with the machine's clock does so on any day: on 29 February, after 2038.

The run is a process of its own whose wall clock is another. Its tests are the unit tests that ask
for the time of day themselves, as `clock_readers` finds them, and the files below, whose subject
asks for it. Not run are unit tests that get a moment from `tests/support`
alone, which would take minutes. But each module there that asks is imported by a file of which
something is run, or is for whole gateways. Tests of whole gateways are not run here: they would
take minutes too, and the parts of a gateway that compare moments have unit tests.

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
from clock_readers import RENAMED, TESTS, names_of, readers

ROOT = Path(__file__).parents[1]
UNIT, SUPPORT = TESTS / "unit", TESTS / "support"
TODAY = datetime.now(UTC)
# Where code under test asks for the time itself, or certificates are made: run as a whole.
FILES = [
    *("asgi/test_cut.py", "cli/test_check_ca.py", "cli/test_decommission.py", "cli/test_init.py"),
    *("cli/test_tokens.py", "control/test_desk.py", "control/test_mint.py"),
    *("issuer/test_client_auth.py", "pki/test_announcing.py", "pki/test_ending.py"),
    *("pki/test_intents.py", "pki/test_revocation_list.py", "supervisor/test_credentials.py"),
    *("peers/test_ledger_marks.py", "upstream/test_wire.py", "verifier/test_standalone.py"),
]
# Modules that ask for the time, for tests of whole gateways alone.
WHOLE_GATEWAYS = {"boundary", "power_loss", "power_writer", "soak_population"}
IMPORTED = re.compile(r"^ *(?:from|import) (\w+)", re.MULTILINE)
FULL = 2038  # when 31 bits of seconds are
LEAP_YEAR = next(filter(isleap, count(max(TODAY.year, FULL) + 2)))
# It ends while the tests run, and a CA that is made then ends after 2049, where dates of X.509 have
# another form (RFC 5280, section 4.1.2.5).
DAY = datetime(LEAP_YEAR, 2, 29, 23, 59, 30, tzinfo=UTC)


def chosen() -> list[str]:
    """Files and single tests, as pytest is given them."""
    whole = [UNIT / file for file in FILES]
    single = [
        f"{path}::{test}"
        for path in sorted(UNIT.rglob("test_*.py"))
        if path not in whole
        for test in names_of(path)
    ]
    return [*map(str, whole), *single]


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")
def test_all_is_well() -> None:
    command = ["faketime", f"{DAY:%F %T}", sys.executable, "-m", "pytest", "-q", "--tb=short"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", *chosen()],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]


def test_every_test_that_asks_for_the_time_is_found(tmp_path: Path) -> None:
    """Directly, by a fixture, a value, a decorator, or a fixture of the folder; and no other."""
    (tmp_path / "conftest.py").write_text("def today():\n    return datetime.now(UTC)\n")
    file = tmp_path / "test_some.py"
    file.write_text(
        "SOON = time.time() + 60\n"
        "def before():\n    return SOON - 1\n"
        "def test_itself():\n    assert date.today()\n"
        "def test_by_two_steps():\n    assert before()\n"
        "@mark(SOON)\ndef test_decorated():\n    pass\n"
        "async def test_by_a_fixture(today):\n    pass\n"
        "def test_of_a_span():\n    assert time.monotonic() - sooner\n"
    )
    found = ["test_by_a_fixture", "test_by_two_steps", "test_decorated", "test_itself"]
    assert names_of(file) == found


def test_no_clock_has_another_name() -> None:
    """The search would miss it."""
    assert not [path for path in TESTS.rglob("*.py") if RENAMED.search(path.read_text())]


def test_every_module_that_asks_for_the_time_is_used_on_other_days() -> None:
    """By a file of which something is run, or by what that imports."""
    used: set[Path] = set()
    new = {Path(test.partition("::")[0]) for test in chosen()}
    new |= {folder / "conftest.py" for path in new for folder in path.parents}
    while new := {path for path in new - used if path.exists()}:
        used |= new
        named = {name for path in new for name in IMPORTED.findall(path.read_text())}
        new = {SUPPORT / f"{name}.py" for name in named}
    asking = {path for path in SUPPORT.glob("*.py") if readers(path)}
    assert {path.stem for path in asking - used} == WHOLE_GATEWAYS
