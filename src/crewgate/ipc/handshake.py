"""Attaches a process to the agent: it says what it is, and gets the table's descriptor.

    process                      agent
      | -- Attach ----------------> |
      | <- Attached + descriptor -- |   or RequestFailed, or the connection ends: not permitted

Blocks briefly, and returns a plain connected socket with its decoder. A worker continues with them
in its event loop, an embedder in threads.
"""

import os
import socket
from pathlib import Path
from typing import NamedTuple

from crewgate.errors import ServiceConnectionError
from crewgate.ipc import attach_messages as messages
from crewgate.ipc.frames import FrameDecoder
from crewgate.ipc.sockets import AgentSocketKind, connect, descriptors

_CHUNK = 64 * 2**10


class AttachedConnection(NamedTuple):
    """The connection of an attachment after the handshake; the caller owns both descriptors.

    `table` is the descriptor of the table. `early` are messages that arrived together with the
    answer, in order.
    """

    connection: socket.socket
    decoder: FrameDecoder
    attached: messages.Attached
    table: int
    early: list[messages.AttachResponse]


def attach(
    folder: Path,
    *,
    worker: int = -1,
    answers_cuts: bool = False,
    takes_pins: bool = False,
    previous: messages.Attached | None = None,
) -> AttachedConnection:
    """Attach to the agent whose state is in `folder`.

    `previous` is the answer of the agent before it was restarted; with it, the process asks for its
    old number. The returned socket blocks, with a timeout.

    Raises:
        ServiceConnectionError: No agent listens, it refuses, or it answers with anything but a
            table.
    """
    ask = messages.Attach(
        version=messages.VERSION,
        worker=worker,
        answers_cuts=answers_cuts,
        previous=previous.number if previous else -1,
        nonce=previous.nonce if previous else 0,
        life=previous.life if previous else b"",
        takes_pins=takes_pins,
    )
    connection = connect(folder, AgentSocketKind.GROUP)
    passed: list[int] = []
    try:
        connection.sendall(messages.pack(ask))
        return _answer(connection, passed)
    except BaseException as error:
        connection.close()
        for descriptor in passed:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise ServiceConnectionError(
                f"{folder}: the agent did not attach this process: {error}"
            ) from error
        raise


def _answer(connection: socket.socket, passed: list[int]) -> AttachedConnection:
    decoder = FrameDecoder()
    received: list[messages.AttachResponse] = []
    while not received:
        data, ancillary, _, _ = connection.recvmsg(
            _CHUNK, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
        passed += descriptors(ancillary)
        if not data:
            raise ServiceConnectionError(
                "the agent closed the connection: the user of this process may not attach, or too "
                "many processes are connected; see the agent's log"
            )
        received += [messages.unpack(messages.group_answers, body) for body in decoder.feed(data)]
    first, *early = received
    if isinstance(first, messages.RequestFailed):
        raise ServiceConnectionError(first.message)
    if not isinstance(first, messages.Attached) or len(passed) != 1:
        raise ServiceConnectionError(
            "the agent answered without a table: it is no agent of this version"
        )
    return AttachedConnection(connection, decoder, first, passed[0], early)
