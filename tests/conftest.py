"""Puts `tests/support` on the path: fakes and builders that several folders of tests share.

No test has a time limit as a speed check, those of Hypothesis included: the machine may be busy.
"""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "support"))
from log_lines import logged
from search_depth import deep

# Its handler in the child of a fork aborts now and then; ours become another program at once.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

_GIB = 2**30


def _has_room(folder: Path) -> bool:
    """Return whether a file system in memory can hold the files of all tests, and runs programs."""
    try:
        found = os.statvfs(folder)
        memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return False
    can_run = not found.f_flag & os.ST_NOEXEC
    return can_run and found.f_bavail * found.f_frsize >= 4 * _GIB and memory >= 8 * _GIB


# A sync costs nothing there: a tenth of the time. Tests of disks bring disks of their own.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _has_room(Path("/dev/shm")):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = "/dev/shm"

# The files and folders that take longest, the longest first: a worker that begins one of them at
# the end runs it alone, while a processor has nothing to do.
LONGEST = (
    "tests/e2e/test_hop.py",
    "tests/e2e/test_hop_long_groups.py",
    "tests/docs/test_build.py",
    "tests/e2e/gateway/test_differential.py",
    "tests/e2e/demo/",
    "tests/e2e/cluster/test_networks.py",
    "tests/test_any_day.py",
    "tests/docs/test_commands.py",
    "tests/e2e/control/test_child.py",
    "tests/e2e/test_bench_cluster.py",
    "tests/packaging/",
    "tests/simulation/",
    "tests/e2e/whole/test_service.py",
    "tests/e2e/whole/test_power_loss.py",
    "tests/e2e/mcp/test_conformance.py",
    "tests/e2e/boundary/test_run.py",
    "tests/unit/_native/test_faults.py",
    "tests/e2e/test_bench.py",
    "tests/e2e/ui/",
    "tests/e2e/ledger/",
    "tests/e2e/whole/",
    "tests/unit/ledger/test_killed.py",
    "tests/unit/ledger/test_machine.py",
    "tests/unit/leases/test_lease_client_machine.py",
)

# A shell that starts the tests in the background has them ignore what the keyboard sends, and so
# would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

settings.register_profile(
    "unhurried",
    deadline=None,
    max_examples=deep(50),
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no mistake of a test
)
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout reads it
def pytest_configure(config: pytest.Config) -> None:
    """A deep test has longer; in CI a test that is skipped fails, unless `skips` allows it."""
    if deep(1) > 1 and config.option.timeout is None:
        config.option.timeout = deep(int(config.getini("timeout")))
    if os.environ.get("CI") == "true":
        config.pluginmanager.import_plugin("skips")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from looking at all modules and items, now and in the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order is the same in all of xdist's workers."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    """Return the place of a test's file or folder among the longest."""
    places = (place for place, name in enumerate(LONGEST) if nodeid.startswith(name))
    return next(places, len(LONGEST))


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """What the project's modules log in a test, as sentences."""
    with logged() as lines:
        yield lines
