"""Ports beside each other on loopback, which no other process of this machine is given as well.

A gateway binds its ports seconds after they were chosen, so that being free is not enough. The last
port of a block is bound as UDP by the process that took the block, and stays so until that ends.
"""

import random
import socket
from contextlib import ExitStack

from crewgate.errors import DemoError

HOST = "127.0.0.1"
PORTS_PER_BLOCK = 20  # `crewgate init` hands out five of the first eleven
# Linux gives ports from 32768 on to connections (ip(7)), and may do so before a gateway binds one.
_FIRST_PORTS = range(10_000, 32_000, PORTS_PER_BLOCK)
_ATTEMPTS_MAX = 200


def reserve(blocks: int = 1) -> int:
    """The first port of that many neighbouring blocks, all of whose ports are free.

    They belong to this process until it ends.

    Raises:
        DemoError: Other programs listen on ports of every block that was tried.
    """
    for _ in range(_ATTEMPTS_MAX):
        first = random.choice(_FIRST_PORTS)  # noqa: S311 - no secret
        if _take(range(first, first + blocks * PORTS_PER_BLOCK)):
            return first
    raise DemoError(f"no free ports beside each other on {HOST}; end what listens there")


def _take(ports: range) -> bool:
    """Mark blocks as taken if each of their ports is free for TCP and UDP.

    The marks come first: to bind a port of somebody else's block, even for a moment, would be in
    the way of a gateway that starts there.
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
            mark.detach()  # its descriptor is closed when this process ends
    return True


def _bind(port: int, bound: ExitStack) -> socket.socket:
    """A UDP socket there, closed with `bound`."""
    made = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind((HOST, port))
    return made
