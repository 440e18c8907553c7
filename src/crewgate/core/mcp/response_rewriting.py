"""Reads the response of an MCP server, message by message, and writes it for the client.

A client gets only messages that were read and judged: a JSON body whole or not at all, a stream
event by event. Everything else becomes one JSON-RPC error, which says what is wrong. Events with
another type than `message` are left out, because MCP has none.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from crewgate import limits
from crewgate.core.event_stream import Event, EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.http_types import HeaderField
from crewgate.errors import MalformedMessageError, UnreadableResponseError

_JSON, _STREAM = b"application/json", b"text/event-stream"
_ERROR_STATUS = 400  # RFC 9110, section 15.5
_TOO_LARGE = f"it has a message of more than {limits.mcp_message_bytes_max} bytes"


class ServerMessage(Protocol):
    """A message of a server, as far as it is judged; `_native.json_rpc` makes it."""

    @property
    def kind(self) -> str:
        """One of "request", "notification" and "response"."""

    @property
    def id(self) -> bytes:
        """The JSON text of the id."""

    @property
    def id_value(self) -> int | str | None:
        """The id; None if there is none."""

    @property
    def method(self) -> str:
        """The method; empty for a response."""

    @property
    def uri(self) -> str | None:
        """`params.uri`."""

    def member(self, *path: str) -> bytes | None:
        """The JSON text of a member, by the names on the way to it."""


# Reads one message; MalformedMessageError.
ReadMessage = Callable[[bytes], ServerMessage]
# Returns what the client gets instead of a message: None for no change, b"" for no message.
# UnreadableResponseError or MalformedMessageError if the message cannot be judged.
MessageEditor = Callable[[ServerMessage], bytes | None]


class ResponseRewriter:
    """The response to one request, or the stream of a session.

    The caller writes headers of its own for type and length of the body. It passes on at once what
    `feed` and `end` return. A JSON body comes out of the last of these calls only.

    Attributes:
        is_over: The client has the whole response, so the caller ends it and reads no further.
        failure: Why the client gets an error in the place of the response; empty if it does not.
    """

    def __init__(
        self,
        read: ReadMessage,
        editors: Sequence[MessageEditor],
        write_error: Callable[[str], bytes],
        *,
        request_id: int | str | None,
        is_resumable: bool = False,
        room: FairShareLimiter | None = None,
    ) -> None:
        """Rewrite the response to the request with this id.

        Without a `request_id`, there may be no response, or responses to any requests.

        `editors` see each message one after another, each with the changes of those before.
        `write_error` returns the error message for a text. `is_resumable`: a stream may end without
        the response if it had an event with an id, because the client can then ask for the rest.
        `room` bounds what all responses of a process hold back.
        """
        self.is_over = False
        self.failure = ""
        self._read = read
        self._editors = editors
        self._write_error = write_error
        self._request_id = request_id
        self._is_resumable = is_resumable
        self._room = room
        self._held = 0  # bytes, counted in `room`
        self._status = 0
        self._events: EventReader | None = None
        self._body = bytearray()
        self._why_unreadable = ""  # of a body that is not read
        self._has_event_id = False

    @property
    def content_type(self) -> bytes:
        """The type of the body that the client gets, if there is one."""
        return _JSON if self._events is None else _STREAM

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response; the names of `headers` are in lower case."""
        self._status = status
        fields = dict(headers)
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            self._why_unreadable = "its body is compressed"
        elif kind == _STREAM:
            self._events = EventReader(limits.mcp_message_bytes_max)
        elif kind != _JSON:
            self._why_unreadable = "its body is neither application/json nor text/event-stream"

    def feed(self, data: bytes) -> bytes:
        """Return what the client gets now that this part of the body has arrived."""
        if self.is_over or not data:
            return b""
        if self._why_unreadable:
            return self._fail(self._why_unreadable)
        if self._events is not None:
            passed = self._relay(self._events.feed(data))
            return passed + self._hold(self._events.held_bytes)
        self._body += data
        if len(self._body) > limits.mcp_message_bytes_max:
            return self._fail(_TOO_LARGE)
        return self._hold(len(self._body))

    def end(self) -> bytes:
        """Return what the client gets at the end of the body."""
        passed = b""
        if self._events is not None and not self.is_over:
            passed = self._relay(self._events.end())
        if not self.is_over:
            passed += self._end()
        self.is_over = True
        self.close()
        return passed

    def close(self) -> None:
        """Drop what is held back, and free its room."""
        self._body = bytearray()
        if self._room is not None:
            self._room.free(self._held)
        self._held = 0

    def _hold(self, size: int) -> bytes:
        """Count what is held back; return the error for the client if there is no room for it."""
        if self.is_over:
            self.close()
        if self.is_over or self._room is None:
            return b""
        self._room.free(self._held)
        self._held = 0
        if not self._room.take(size):
            return self._fail("the gateway holds too many other responses back")
        self._held = size
        return b""

    def _end(self) -> bytes:
        """Return what follows a body that is over without a failure."""
        if self._body:
            body = bytes(self._body)
            try:
                edited = self._edited(body)
            except UnreadableResponseError as error:
                return self._fail(str(error))
            return body if edited is None else edited
        if self._request_id is None or (self._is_resumable and self._has_event_id):
            return b""
        return self._fail("it ended without a response")

    def _relay(self, events: Sequence[Event]) -> bytes:
        """Return what the client gets of some events of a stream."""
        passed = []
        for event in events:
            try:
                passed.append(self._event(event))
            except UnreadableResponseError as error:
                passed.append(self._fail(str(error)))
            if self.is_over:
                break
        return b"".join(passed)

    def _event(self, event: Event) -> bytes:
        if not event.is_whole:
            raise UnreadableResponseError(_TOO_LARGE)
        if event.id is not None:
            self._has_event_id = True
        if not event.data:
            return event.raw
        if event.kind != "message":
            return b""
        edited = self._edited(event.data)
        if edited is None:
            return event.raw
        return event.with_data(edited) if edited else b""

    def _edited(self, text: bytes) -> bytes | None:
        """Return what the client gets instead of a message; None for no change.

        Raises:
            UnreadableResponseError: The message cannot be judged, or is not for this client.
        """
        edited = None
        try:
            message = self._read(text)
            is_last = self._is_awaited(message)
            for edit in self._editors:
                changed = edit(message)
                if changed == b"":
                    return changed
                if changed is not None:
                    edited, message = changed, self._read(changed)
        except MalformedMessageError as error:
            raise UnreadableResponseError(f"it has no JSON-RPC message: {error}") from error
        self.is_over = is_last
        return edited

    def _is_awaited(self, message: ServerMessage) -> bool:
        """Return whether a message is the response to the request.

        Raises:
            UnreadableResponseError: It is the response to another request, or the body has to be
                a response and is not.
        """
        if message.kind != "response":
            if self._events is None:
                raise UnreadableResponseError("its body is not a response")
            return False
        if self._request_id is None:
            return False
        # JSON-RPC 2.0, section 5: so a server answers that could not read the id of the request.
        is_for_all = message.id_value is None and message.member("error") is not None
        if message.id_value != self._request_id and not is_for_all:
            raise UnreadableResponseError("it has the response to another request")
        return True

    def _fail(self, why: str) -> bytes:
        """End the response with an error; return what the client gets of it."""
        self.is_over = True
        self.close()
        status = f" with the HTTP status {self._status}" if self._status >= _ERROR_STATUS else ""
        self.failure = (
            f"The tool's server responded{status}, but the gateway cannot pass its response on: "
            f"{why}."
        )
        error = self._write_error(self.failure)
        return error if self._events is None else b"event: message\ndata: %b\n\n" % error
