"""With `CI=true`, a test that is skipped fails, unless it is listed here with the reason it gives.

`.ci/run` installs all that a test can use. So a skip there means that it installs too little, and
hides what the test would have found. A test that may lack one thing may not lack another: one that
is not for every kernel still fails where its compiler is missing.
"""

from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

_ROOT = "on a machine whose CI is not root, it can neither become other users nor give files away"
_MOUNT = "some containers allow no mount namespace", "no mount namespace can be made"
_NETWORK = "some containers allow no network namespace", "no network of our own can be made: "
_DISK = "some containers allow no loop device", "no loop device can be mounted here: "
_NOT_ROOT_S = f"{_ROOT}, nor mount a loop device", "loop devices are for root"
# The start of a test's id: why it cannot run on every machine, whatever is installed; and how the
# reason begins that the test itself gives.
ALLOWED = [
    ("tests/deploy/test_container.py", "some containers allow no user namespace",
     "no container can be made here: bwrap: "),
    ("tests/deploy/test_compose.py", "some containers allow no user namespace",
     "no container can be made here: bwrap: "),
    ("tests/deploy/test_compose.py", *_NETWORK),
    ("tests/deploy/test_helm_chart.py", "some containers allow no user namespace",
     "no container can be made here: bwrap: "),
    ("tests/e2e/agent/test_agent_sockets.py", _ROOT, "only root can become somebody else"),
    ("tests/e2e/boundary/test_run.py::", _ROOT, "only root has a user to spare"),
    ("tests/e2e/boundary/test_run_isolation.py", _ROOT,
     "only root starts processes of other users"),
    ("tests/e2e/boundary/test_run_isolation.py", "its Python may be for root alone",
     "no interpreter of this version is for other users to run"),
    ("tests/e2e/boundary/test_sub_agent_process.py", _ROOT,
     "only root starts processes of other users"),
    ("tests/e2e/boundary/test_sub_agent_process.py", "its Python may be for root alone",
     "no interpreter of this version is for other users to run"),
    ("tests/e2e/boundary/test_sub_agent_process.py", "Linux has them since 6.12",
     "the kernel has no Landlock domain for signals"),
    ("tests/unit/sidecar/test_command_supervisor.py", "Linux has them since 6.12",
     "the kernel has no Landlock domain for signals"),
    ("tests/unit/sidecar/test_connected_process.py", "some containers allow no pid namespace",
     "no pid namespace can be made: "),
    ("tests/e2e/clients/test_h2spec.py", "people build it from its sources",
     "h2spec is not on the path (no registry has it;"),
    ("tests/e2e/cluster/test_networks.py", *_NETWORK),
    ("tests/e2e/cluster/test_stale.py", *_NETWORK),
    ("tests/e2e/whole/test_full_disks.py", *_DISK),
    ("tests/e2e/whole/test_full_disks.py", *_NOT_ROOT_S),
    ("tests/e2e/whole/test_power_loss.py", *_DISK),
    ("tests/e2e/whole/test_power_loss.py", *_NOT_ROOT_S),
    ("tests/unit/_native/test_signature.py", "vectors of others are not kept in this project",
     "CREWGATE_VECTORS names no folder with "),
    ("tests/unit/_native/test_stress.py", "ThreadSanitizer does not run on every kernel",
     "no program with ThreadSanitizer runs here"),
    ("tests/unit/audit/test_writer_processes.py", *_MOUNT),
    ("tests/unit/ledger/test_sql.py", *_MOUNT),
    ("tests/unit/gossip/test_capsule_journal.py", *_MOUNT),
    ("tests/unit/gossip/test_sockets.py", "some machines have no IPv6", "no IPv6 here"),
    ("tests/unit/ca/test_jwks_key_removal.py", _ROOT, "only root gives files away"),
    ("tests/unit/lifecycle/test_liveness_lock.py", _ROOT, "only root gives files away"),
    ("tests/unit/ca/test_unrecorded_revocations.py", *_MOUNT),
    ("tests/unit/sidecar/test_local_socket.py", _ROOT, "only root gives files away"),
    ("tests/unit/sidecar/test_user.py", _ROOT, "only root starts processes of another user"),
]  # fmt: skip


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
    if report.skipped and not hasattr(report, "wasxfail"):
        *_, why = report.longrepr if isinstance(report.longrepr, tuple) else (report.longrepr,)
        if not _is_allowed(report.nodeid, str(why).removeprefix("Skipped: ")):
            report.outcome = "failed"
            report.longrepr = (
                f"{why}\nCI=true skips no test that is not in tests/support/skips.py with this "
                "reason: have .ci/run install what it needs, or enter it there."
            )
    return report


def _is_allowed(test: str, why: str) -> bool:
    return any(test.startswith(start) and why.startswith(said) for start, _, said in ALLOWED)
