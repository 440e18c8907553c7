"""A skip that hides something fails the run in CI, wherever it comes from."""

import os
import re
import subprocess
import sys
from pathlib import Path

import skips

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_that_runs(): pass

@pytest.mark.skipif(True, reason="no h2load")
def test_marked(): pass

def test_while_it_runs(): pytest.skip("no compiler")

@pytest.fixture
def server(): pytest.skip("no PostgreSQL")

def test_in_its_fixture(server): pass

@pytest.mark.xfail(reason="as expected")
def test_that_fails(): raise AssertionError
"""
ALLOWED = """
def test_allowed(): pytest.skip("h2spec is not on the path (no registry has it; so build it)")
"""
WHOLE_FILE = 'import pytest\npytest.importorskip("no_such_library", reason="no library")\n'
WHOLE_FILE_ALLOWED = """
import pytest
pytest.skip("no network of our own can be made: why", allow_module_level=True)
"""


def outcome(folder: Path, *options: str) -> dict[str, int]:
    """How many passed, failed and so on, in a run of pytest with the plugin."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "skips", *options],
        cwd=folder,
        # Other plugins have no part in this, and importing them takes a second.
        env=os.environ
        | {"PYTHONPATH": str(ROOT / "tests/support"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    counts = re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors)", done.stdout[-200:])
    assert counts, done.stdout + done.stderr
    assert "in tests/support/skips.py" in done.stdout
    return {kind: int(count) for count, kind in counts}


def test_every_way_to_skip_fails_but_for_what_is_allowed(tmp_path: Path) -> None:
    """A file that may skip for one reason fails for every other, as a file that may not at all."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_none.py").write_text(WHOLE_FILE)
    (clients := tmp_path / "tests/e2e/clients").mkdir(parents=True)
    (clients / "test_h2spec.py").write_text(TESTS + ALLOWED)
    (cluster := tmp_path / "tests/e2e/cluster").mkdir()
    (cluster / "test_networks.py").write_text(WHOLE_FILE_ALLOWED)
    (cluster / "test_stale.py").write_text(WHOLE_FILE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    alone = outcome(tmp_path, "--continue-on-collection-errors")
    assert alone == {"passed": 2, "failed": 2, "errors": 6, "skipped": 2, "xfailed": 2}
    workers = outcome(tmp_path, "-p", "xdist", "-n1", "test_some.py")
    assert workers == {"passed": 1, "failed": 1, "errors": 2, "xfailed": 1}


def test_the_list_names_tests_that_are_there_and_the_reasons_that_they_give() -> None:
    """A reason stands word for word in the file, or in what it takes it from."""
    support = "".join(
        path.read_text() for path in (ROOT / "tests/support").glob("*.py") if path.stem != "skips"
    )
    for start, why, said in skips.ALLOWED:
        file = ROOT / start.partition("::")[0]
        assert file.is_file()
        assert len(why) > len("no")
        assert said in file.read_text() + support, said
