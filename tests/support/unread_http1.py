"""Tools over HTTP/1.1 that leave requests unread, whose clients leave meanwhile.

Asked for `/half/…` a server reads the head alone and answers; it reads the body a moment later.
Asked for `/deaf/…` it answers, and reads nothing at all for that moment. Asked for anything else,
it echoes the request, so a client sees whether the answer is its own.
"""

import ssl

import trio

UNREAD_SECONDS = 0.25
ROOM_BYTES = 8192  # of what the kernel keeps at either end; it doubles that
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Unread:
    """A server under TLS; one that has room for little."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def serve(self, plain: trio.SocketStream, _: int) -> None:
        """Answer until the client closes."""
        stream = trio.SSLStream(plain, self._context, server_side=True, https_compatible=True)
        await stream.do_handshake()
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                if not (piece := await stream.receive_some(1024)):
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            target = head.split(b" ")[1]
            await stream.send_all(_ANSWER % (len(target), target))
            if target.startswith((b"/half/", b"/deaf/")):
                await trio.sleep(UNREAD_SECONDS)
            length = _length(head)
            while len(data) < length:
                if not (piece := await stream.receive_some(1024)):
                    return
                data += piece
            data = data[length:]


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
