"""Reads the response of an MCP server, message by message, and writes it for the client.

A client gets only messages that were read and judged: a JSON body whole or not at all, a stream
event by event. Everything else is an error. Events with another type than `message` are left out,
because MCP has none.
"""

from collections.abc import Callable, Generator, Sequence
from http import HTTPStatus
from typing import Protocol

from msgspec import structs

from crewgate import limits
from crewgate.core.body_encoding import media_type
from crewgate.core.event_stream import Event, EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.held_response import HeldResponse, too_large
from crewgate.core.http_types import HeaderField
from crewgate.core.slices import Slices
from crewgate.errors import MalformedMessageError, UnusableResponseError

_JSON, _STREAM = b"application/json", b"text/event-stream"


class ServerMessage(Protocol):
    """A message of a server, as far as it is judged; `_native.json_rpc` makes it."""

    @property
    def body(self) -> bytes:
        """The whole message."""

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

    def text(self, *path: str) -> str | None:
        """The decoded string at a path; None if there is none. MalformedMessageError."""

    def with_text(self, path: Sequence[str], text: str) -> bytes:
        """The message with another string at a path."""


# Reads one message; MalformedMessageError.
ReadMessage = Callable[[bytes], ServerMessage]
# Returns, perhaps in slices, what the client gets instead of a message: None for no change, b"" for
# no message. UnusableResponseError or MalformedMessageError if the message cannot be judged.
Edited = bytes | None
MessageEditor = Callable[[ServerMessage], Edited | Slices[Edited]]


def with_result(message: ServerMessage, result: bytes) -> bytes:
    """Return a response with another result, which is a JSON text."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (message.id, result)


class MCPResponseRewriter:
    """The response to one request, or the stream of a session.

    `is_over`: nothing more follows. The client has the response to its request, the body has ended,
    or the response was unusable.
    """

    def __init__(
        self,
        read: ReadMessage,
        editors: Sequence[MessageEditor],
        *,
        request_id: int | str | None,
        room: FairShareLimiter,
        crew: str = "",
        is_resumable: bool = False,
        seal_event_id: Callable[[str], str] | None = None,
    ) -> None:
        """Rewrite the response to the request with this id.

        Without a `request_id`, there may be no response, or responses to any requests.

        `editors` see each message one after another, each with the changes of those before.
        `is_resumable`: a stream may end without the response if it had an event with an id, because
        the client can then ask for the rest. `seal_event_id` returns the id of an event for the
        client. `room` bounds what all responses of a process hold back, and what those of one
        `crew` do.
        """
        self.is_over = False
        self._read = read
        self._editors = editors
        self._request_id = request_id
        self._is_resumable = is_resumable
        self._seal_event_id = seal_event_id
        self._held = HeldResponse(room, crew)
        self._status = 0
        self._why_unread = ""  # of a body in another form
        self._events: EventReader | None = None  # None: the body is not a stream
        self._has_event_id = False
        self._work: Slices[bytes] | None = None  # on what `feed` got
        self._is_last = False  # `feed` gets no more

    @property
    def is_working(self) -> bool:
        """Whether there is more to do for what `feed` got: call it again without data."""
        return self._work is not None

    @property
    def may_begin(self) -> bool:
        """Whether the head may be sent to the client: a stream has begun, or a body is whole."""
        return self._events is not None or self._held.whole_body is not None

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response; the names of `headers` are in lower case."""
        self._status = status
        fields = dict(headers)
        kind = media_type(fields.get(b"content-type", b""))
        if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            self._why_unread = "its body is compressed"
        elif kind == _STREAM:
            self._events = EventReader(limits.mcp_message_bytes_max)
        elif kind != _JSON:
            self._why_unread = "its body is neither application/json nor text/event-stream"

    def head(self, headers: Sequence[HeaderField]) -> list[HeaderField]:
        """Return the headers for the client, once the response may begin."""
        return self._held.head(headers)

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more.

        While the rewriter `is_working`, each call without data does one slice of its work.

        Raises:
            UnusableResponseError: The client must not get the response, or the rest of it.
        """
        if self.is_over:
            return b""
        if self._work is None:
            self._is_last = ends
            self._work = self._collect(data, ends=ends)
            if self._events is not None:
                self._work = self._relay(self._events, data, ends=ends)
        elif data:
            raise AssertionError("the work on the data before has not ended")
        try:
            next(self._work)
        except StopIteration as done:
            self._work = None
            passed: bytes = done.value
        except UnusableResponseError as error:
            self.close()
            raise UnusableResponseError(self._why_unusable(error)) from error
        else:
            return b""
        if self._is_last or self.is_over:
            self.close()
        return passed

    def close(self) -> None:
        """Drop what is held back, and free its room."""
        self.is_over = True
        self._work = None
        self._held.drop()

    def _why_unusable(self, error: UnusableResponseError) -> str:
        why = f"the response with the HTTP status {self._status} cannot be passed on: {error}"
        is_misrouted = self._status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
        return f"{why}; compare `rewrite` with the path at the server" if is_misrouted else why

    def _collect(self, data: bytes, *, ends: bool) -> Slices[bytes]:
        """Return the body for the client, if this is the end of it."""
        if data and self._why_unread:
            raise UnusableResponseError(self._why_unread)
        self._held.collect(data, limits.mcp_message_bytes_max)
        if not ends:
            return b""
        body = bytes(self._held.collected)
        if body:
            edited = yield from self._edit(body)
            body = body if edited is None else edited
        elif self._request_id is not None:
            raise UnusableResponseError("it is empty")
        self._held.whole_body = body
        return body

    def _relay(self, reader: EventReader, data: bytes, *, ends: bool) -> Slices[bytes]:
        """Return what the client gets of the events that are complete now."""
        passed = []
        for event in [*reader.feed(data), *(reader.end() if ends else ())]:
            passed.append((yield from self._event(event)))
            if self.is_over:
                break
        else:
            may_end = self._request_id is None or (self._is_resumable and self._has_event_id)
            if ends and not may_end:
                raise UnusableResponseError("its stream ends without the response")
            self._held.hold(reader.held_bytes)
        return b"".join(passed)

    def _event(self, event: Event) -> Slices[bytes]:
        if not event.is_whole:
            raise too_large(limits.mcp_message_bytes_max)
        if event.data and event.kind != "message":
            return b""
        changes: dict[str, bytes] = {}
        if event.id is not None:
            self._has_event_id = True
            if event.id and self._seal_event_id is not None:
                changes["id"] = self._seal_event_id(_text(event.id)).encode()
        edited = (yield from self._edit(event.data)) if event.data else None
        if edited == b"":
            return edited
        if edited is not None:
            changes["data"] = edited
        return structs.replace(event, **changes).written_anew() if changes else event.raw

    def _edit(self, text: bytes) -> Slices[Edited]:
        """Return, in slices, what the client gets instead of a message; None for no change.

        Raises:
            UnusableResponseError: The message cannot be judged, or is not for this client.
        """
        edited = None
        try:
            message = self._read(text)
            is_response = self._is_response(message)
            for edit in self._editors:
                found = edit(message)
                changed = (yield from found) if isinstance(found, Generator) else found
                if changed == b"":
                    return changed
                if changed is not None:
                    edited, message = changed, self._read(changed)
        except MalformedMessageError as error:
            raise UnusableResponseError(f"it is not JSON-RPC: {error}") from error
        self.is_over = is_response
        return edited

    def _is_response(self, message: ServerMessage) -> bool:
        """Return whether a message is the response to the request.

        Raises:
            UnusableResponseError: It is the response to another request, or the body has to be a
                response and is not.
        """
        if message.kind != "response":
            if self._events is None:
                raise UnusableResponseError("it is not the response to a request")
            return False
        if self._request_id is None:
            return False
        # JSON-RPC 2.0, section 5: so a server answers that could not read the id of the request.
        is_without_id = message.id_value is None and message.member("error") is not None
        if message.id_value != self._request_id and not is_without_id:
            raise UnusableResponseError("it is the response to another request")
        return True


def _text(event_id: bytes) -> str:
    try:
        return event_id.decode()
    except UnicodeDecodeError:
        raise UnusableResponseError("it has an event whose id is not UTF-8") from None
