"""Whether this kernel has Landlock domains that keep signals inside (landlock(7), Linux 6.12)."""

import ctypes
import sys

import pytest

_CREATE_RULESET, _GET_VERSION = 444, 1


def _version() -> int:
    """That of Landlock; -1 if the kernel has none."""
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _GET_VERSION))


needs_domains = pytest.mark.skipif(
    _version() < 6, reason="the kernel has no Landlock domain for signals"
)
