"""Sends a small frame at once, past a queue that is empty.

With the queue, a task would have to wake to empty it. That takes a tenth of a millisecond of a
branch's first call, and of a revocation.
"""

import os

import msgspec

from crewgate import limits
from crewgate.ipc.attach_messages import pack


def send(descriptor: int, message: msgspec.Struct) -> bool:
    """Send a message without waiting; return whether all of it left.

    If it did not, nothing of it left, and the caller queues it. A local socket takes so few bytes
    whole or not at all, since one buffer holds them (Linux, `unix_stream_sendmsg`).
    """
    data = pack(message)
    if len(data) > limits.ipc_direct_send_bytes_max:
        return False
    try:
        return os.write(descriptor, data) == len(data)
    except OSError:
        # The socket is full, or closed: then the task that empties the queue notices it.
        return False
