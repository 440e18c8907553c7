"""Descriptors: how many a process may have, and whether a bench fits into that."""

import resource

SPARE = 200  # of a process, beside its connections
GATEWAY_SPARE = 640  # of a gateway, beside its idle clients; Crewgate keeps 512 for upstreams
LISTENERS = 2  # among which Crewgate divides the rest


def raise_descriptors(connections: int) -> None:
    """Let this process have so many connections; ends it where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most(hard)), hard))


def most(hard: int) -> int:
    """The hard limit as a number."""
    return 2**20 if hard == resource.RLIM_INFINITY else hard


def room() -> int:
    """How many connections of one address a gateway takes at one listener, with our own limit.

    Crewgate leaves the last fifth of a listener's connections to other addresses.
    """
    listener = (most(resource.getrlimit(resource.RLIMIT_NOFILE)[1]) - GATEWAY_SPARE) // LISTENERS
    return listener * 4 // 5
