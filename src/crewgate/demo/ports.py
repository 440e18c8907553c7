"""Reserves neighboring ports on loopback, so that two demos or tests never take the same ports.

A gateway binds its ports seconds after they were chosen, so it is not enough that they are free.
The process that takes a block binds the last port of the block as UDP until the process ends.
"""

import random
import socket
from contextlib import ExitStack

from crewgate.errors import DemoError

HOST = "127.0.0.1"
# `crewgate init` uses six of the first eleven ports of a block.
PORTS_PER_BLOCK = 20
# Linux uses ports from 32768 on for outgoing connections (ip(7)), and could take one before a
# gateway binds it.
_FIRST_PORTS = range(10_000, 32_000, PORTS_PER_BLOCK)
_ATTEMPTS_MAX = 200


def reserve(blocks: int = 1) -> int:
    """Return the first port of so many neighboring blocks, all of whose ports are free.

    The blocks belong to this process until it ends.

    Raises:
        DemoError: Other programs listen on ports of every block that was tried.
    """
    for _ in range(_ATTEMPTS_MAX):
        first = random.choice(_FIRST_PORTS)  # noqa: S311 - no secret
        if _take(range(first, first + blocks * PORTS_PER_BLOCK)):
            return first
    raise DemoError(f"no free ports next to each other on {HOST}; end programs that listen there")


def _take(ports: range) -> bool:
    """Mark blocks as taken if each of their ports is free for TCP and UDP.

    The marks come first. If this process bound a port of a block that another one has taken, even
    for a moment, it could keep a gateway from starting there.
    """
    ends = ports[PORTS_PER_BLOCK - 1 :: PORTS_PER_BLOCK]
    with ExitStack() as bound:
        try:
            marks = [_bind(port, bound) for port in ends]
            for port in ports:
                bound.enter_context(socket.create_server((HOST, port)))
                if port not in ends:
                    _bind(port, bound)
        except OSError:
            return False
        for mark in marks:
            # The kernel closes the descriptor when this process ends.
            mark.detach()
    return True


def _bind(port: int, bound: ExitStack) -> socket.socket:
    made = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind((HOST, port))
    return made
