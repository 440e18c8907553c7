"""How many descriptors this process may have open, and how the soft limit is raised."""

import resource

_ENDLESS = 2**31 - 1  # RLIM_INFINITY as a number: no process has more


def most() -> int:
    """What the soft limit can be raised to: the hard limit, which is the operator's word."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _ENDLESS if hard == resource.RLIM_INFINITY else hard


def raise_to(wanted: int) -> int:
    """Raise the soft limit to `wanted`, or as far as the hard limit allows; what it is then.

    The usual soft limit is 1024, so that select(2) works, which nothing here uses.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _ENDLESS
    if soft < wanted:
        soft = min(wanted, most())
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
