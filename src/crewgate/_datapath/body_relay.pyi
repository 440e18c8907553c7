"""The relay of one answer's body, from its server's connection to a client of HTTP/2.

The answer to a call has begun, and no Python code reads or changes its body: then its pieces pass
without Python. The relay takes pieces only if an ordinary `push` would have queued them and had
nothing else to do. It leaves everything else to Python: the end of the answer, a client that is
slow or has left, and a piece that is not paid for.
"""

from crewgate._datapath.http2_protocol import HTTP2Protocol

class BodyRelay:
    """The body of one answer, as far as it has been passed on. It is closed at first.

    - `bytes_out`: how many bytes the client was sent; Python adds what it sends
    - `between_events`: the body is a stream of server-sent events, and the last one was complete;
      None for any other body
    - `bytes_allowed`: how many more bytes may pass without Python
    """

    bytes_out: int
    between_events: bool | None
    bytes_allowed: int

    def open(self, protocol: HTTP2Protocol, stream: int) -> bool:
        """Pass the body on to this stream, whose answer has begun.

        Return False if the protocol has another engine than Crewgate's.
        """
    def close(self) -> None:
        """Pass nothing on any more."""
    @property
    def is_open(self) -> bool: ...
    def take_unread(self) -> int:
        """Return how many bytes have passed without Python since the last call."""
