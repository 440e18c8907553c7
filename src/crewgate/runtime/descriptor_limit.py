"""Reads and raises the limit of open file descriptors of this process."""

import resource

_UNLIMITED = 2**31 - 1  # stands for RLIM_INFINITY: no process has more


def most() -> int:
    """Return how far the soft limit can be raised: the hard limit, which the operator sets."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard


def raise_to(wanted: int) -> int:
    """Raise the soft limit to `wanted`, or as far as the hard limit allows; return the new limit.

    The usual soft limit is 1024, for programs that use select(2). Nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _UNLIMITED
    if soft < wanted:
        soft = min(wanted, most())
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
