"""Puts `tests/support` on the path: fakes and builders that several folders of tests share.

No test has a time limit as a speed check, those of Hypothesis included: the machine may be busy.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "support"))

# Its handler in the child of a fork aborts now and then; ours become another program at once.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """In CI a test that is skipped fails, unless `skips` allows it."""
    if os.environ.get("CI") == "true":
        config.pluginmanager.import_plugin("skips")
