"""A small frame goes out at once, past a queue in which nothing is before it.

What a queue costs is a task that wakes to empty it: a tenth of a millisecond of a branch's first
call, and of a revocation.
"""

import os

import msgspec

from crewgate import limits
from crewgate.ipc.attach_messages import pack


def send(descriptor: int, message: msgspec.Struct) -> bool:
    """Whether all of it is on its way; else nothing is, and it is for the queue. Never waits.

    A local socket takes so few bytes whole or not at all: one buffer holds them (Linux,
    `unix_stream_sendmsg`).
    """
    data = pack(message)
    if len(data) > limits.link_straight_bytes_max:
        return False
    try:
        return os.write(descriptor, data) == len(data)
    except OSError:  # no room, or the end, which the queue's reader will see
        return False
