"""The answer of a tool's server as llhttp reads it: head, pieces of the body, trailers, end.

Refuses what could be framed in two ways (llhttp does), switching protocols, and heads over their
bounds. Knows no socket.
"""

from http import HTTPStatus

import httptools

from crewgate import limits
from crewgate.errors import UpstreamError

Field = tuple[bytes, bytes]


class Response:
    """Reads the answers of one connection, one after the other; `reset` goes before each.

    `status` is 0 until the head is complete. `reusable` says whether the connection may carry
    another request after `complete`.
    """

    __slots__ = (
        "_chunks",
        "_count",
        "_informational",
        "_parser",
        "_unbounded_bytes",
        "_until_end",
        "began",
        "complete",
        "head_only",
        "headers",
        "informed",
        "reusable",
        "status",
        "trailers",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.reset(head_only=False)

    def reset(self, *, head_only: bool) -> None:
        """Forget the last answer; `head_only` for the answer to HEAD."""
        self.status = 0
        self.headers: list[Field] = []
        self.trailers: list[Field] = []
        self.complete = False
        self.reusable = False
        self.began = False  # a byte has come
        self.head_only = head_only
        self._chunks: list[bytes] = []
        self._informational: list[tuple[int, list[Field]]] = []
        self.informed = False
        self._count = 0  # of informational answers
        self._until_end = False
        self._unbounded_bytes = 0  # since the start or a body's piece: fields, chunk extensions

    def feed(self, data: bytes) -> None:
        """Take bytes from the server. UpstreamError if they are not HTTP/1."""
        self._unbounded_bytes += len(data)
        self.began = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.complete:
                self.reusable = False  # bytes after a complete answer: nobody's
                return
            raise UpstreamError("the tool's server does not answer in HTTP/1.1") from error
        if self._unbounded_bytes > limits.upstream_head_bytes_max and not self.complete:
            raise UpstreamError("the head of the answer, or what follows its body, is too large")

    def feed_end(self) -> None:
        """Take the end of the connection. UpstreamError if the answer is not whole."""
        self.reusable = False
        if self.status and self._until_end:
            self.complete = True
        if not self.complete:
            raise UpstreamError("the tool's server closed the connection in mid-answer")

    def take(self) -> bytes:
        """Return what has come of the body and was not taken."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    def take_informational(self) -> list[tuple[int, list[Field]]]:
        """Return the informational answers that have come and were not taken."""
        taken, self._informational, self.informed = self._informational, [], False
        return taken

    # The parser's side.

    def on_message_begin(self) -> None:
        """Begin a head; one that nobody asked for is an error."""
        if self.complete:
            raise UpstreamError("an answer without a request")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head or of the trailers."""
        fields = self.trailers if self.status else self.headers
        # llhttp leaves blanks behind a value, and HTTP/2 forbids them (RFC 9113 §8.2.1).
        fields.append((name.lower(), value.rstrip(b" \t")))
        if len(fields) > limits.upstream_fields_max:
            raise UpstreamError("too many fields")

    def on_headers_complete(self) -> None:
        """Know how the body ends (RFC 9112 §6.3)."""
        status = self._parser.get_status_code()
        if status == HTTPStatus.SWITCHING_PROTOCOLS or status < HTTPStatus.CONTINUE:
            raise UpstreamError("no answer that was asked for")
        if status < HTTPStatus.OK:
            # 100 (Continue) answers an Expect, which is ours to give and which we do not send.
            if status != HTTPStatus.CONTINUE and self._count < limits.upstream_informational_max:
                self._informational.append((status, self.headers))
                self.informed = True
                self._count += 1
            return
        self.status = status
        self.reusable = self._parser.should_keep_alive()
        if self.head_only:
            # Servers of the field send the body all the same: it must not answer the next call.
            self.reusable = self.reusable and not any(map(_tells_of_a_body, self.headers))
            # The parser now waits for a body that never comes: the next answer gets a new one.
            self._parser = httptools.HttpResponseParser(self)
            self.complete = True
            return
        self._until_end, coded = True, False
        for name, value in self.headers:
            if name == b"content-length":
                self._until_end = False
            elif name == b"transfer-encoding":
                if coded or value.lower() != b"chunked":
                    raise UpstreamError("a transfer coding other than chunked")
                self._until_end, coded = False, True

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self.complete:
            raise UpstreamError("a body where none may be")
        self._unbounded_bytes = 0
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """End the answer, unless it was informational."""
        if self.status:
            self.complete = True


def _tells_of_a_body(field: Field) -> bool:
    """Whether a field says that the answer to GET would have a body (RFC 9110 §8.6)."""
    name, value = field
    return name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
