"""With `CI=true`, a test that is skipped fails, unless it is listed here with a reason.

`.ci/run` installs all that a test can use. So a skip there means that it installs too little, and
hides what the test would have found.
"""

from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

_ROOT = "on a machine whose CI is not root, it can neither become other users nor give files away"
_MOUNT = "some containers allow no mount namespace"
_VECTORS = "vectors of others are not kept in this project"
# The start of a test's id: why it cannot run on every machine, whatever is installed.
ALLOWED = {
    "tests/e2e/agent/test_doors.py": _ROOT,
    "tests/e2e/boundary/test_run.py::": _ROOT,
    "tests/e2e/boundary/test_run_walls.py": f"{_ROOT}, or its Python is for root alone",
    "tests/e2e/clients/test_h2spec.py": "no registry has h2spec; people build it from its sources",
    "tests/e2e/cluster/test_networks.py": "some containers allow no network namespace",
    "tests/e2e/cluster/test_stale.py": "some containers allow no network namespace",
    "tests/e2e/whole/test_full_disks.py": f"{_ROOT}, nor mount a loop device",
    "tests/e2e/whole/test_power_loss.py": f"{_ROOT}, nor mount a loop device",
    "tests/unit/_native/test_signature.py": _VECTORS,
    "tests/unit/_native/test_stress.py": "ThreadSanitizer does not run on every kernel",
    "tests/unit/audit/test_writer_processes.py": _MOUNT,
    "tests/unit/ledger/test_sql.py": _MOUNT,
    "tests/unit/peers/test_log.py": _MOUNT,
    "tests/unit/peers/test_sockets.py": "some machines have no IPv6",
    "tests/unit/pki/test_jwks.py": _ROOT,
    "tests/unit/pki/test_pulse.py": _ROOT,
    "tests/unit/pki/test_unwritten.py": _MOUNT,
    "tests/unit/supervisor/test_door.py": _ROOT,
}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test, in each of its phases."""
    return _judged((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Of all tests of a file."""
    return _judged((yield))


def _judged(report: Report) -> Report:
    """The report, as a failure if it says that a test was skipped which has to run."""
    if report.skipped and not hasattr(report, "wasxfail") and not _is_allowed(report.nodeid):
        *_, why = report.longrepr if isinstance(report.longrepr, tuple) else (report.longrepr,)
        report.outcome = "failed"
        report.longrepr = (
            f"{why}\nCI=true skips no test that is not in tests/support/skips.py: "
            "have .ci/run install what it needs, or enter it there with a reason."
        )
    return report


def _is_allowed(test: str) -> bool:
    return test.startswith(tuple(ALLOWED))
