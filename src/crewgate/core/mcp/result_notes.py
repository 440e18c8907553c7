"""Adds a note of the gateway to the result of a tool, where a model reads it.

A note never costs a client its response: what cannot have one passes as it comes.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import msgspec
from msgspec import structs

from crewgate import limits
from crewgate.core.body_encoding import media_type
from crewgate.core.event_stream import Event, EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.held_response import HeldResponse
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.list_entries import object_members
from crewgate.core.mcp.response_rewriting import ReadMessage, ServerMessage, with_result
from crewgate.errors import MalformedMessageError, UnusableResponseError

AddNote = Callable[[ServerMessage], bytes | None]
_encode = msgspec.json.Encoder().encode
_JSON, _STREAM = b"application/json", b"text/event-stream"


def note_editor(text: str) -> AddNote:
    """Return an editor that adds a text to the content of a result (MCP, "Tool Result").

    It returns None for a message that is no result with content, or would be too large.
    """
    item = _encode({"type": "text", "text": text})

    def edit(message: ServerMessage) -> bytes | None:
        result = message.member("result")
        if result is None or not result.startswith(b"{"):
            return None
        try:
            members = object_members(result, "the result")
        except MalformedMessageError:
            return None
        content = members.get("content", b"").strip()
        if not content.startswith(b"["):
            return None
        before = content[1:-1].strip()
        members["content"] = b"[%b]" % b",".join([before, item] if before else [item])
        written = b",".join(b"%b:%b" % (_encode(name), each) for name, each in members.items())
        noted = with_result(message, b"{%b}" % written)
        return noted if len(noted) <= limits.mcp_message_bytes_max else None

    return edit


def _can_have_note(status: int, fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a response with this head may have a result that can have a note."""
    return (
        status == HTTPStatus.OK
        and media_type(fields.get(b"content-type", b"")) in {_JSON, _STREAM}
        and fields.get(b"content-encoding", b"identity").strip().lower() == b"identity"
    )


class NotedResponse:
    """The response to one request, whose result gets a note; all else passes as it comes.

    A body that is too large, or for which there is no room, passes without the note.
    """

    is_working = False
    is_over = False  # the server's end is the client's

    def __init__(
        self,
        read: ReadMessage,
        add_note: AddNote,
        *,
        request_id: int | str,
        room: FairShareLimiter,
        crew: str = "",
    ) -> None:
        """`room` bounds what all responses of a process hold back, and what those of a crew do."""
        self._read = read
        self._add_note = add_note
        self._request_id = request_id
        self._held = HeldResponse(room, crew)
        self._events: EventReader | None = None  # None: the body is not a stream
        self._passes = False  # no note can come any more

    @property
    def may_begin(self) -> bool:
        """Whether the head may be sent: a stream has begun, or the body is known."""
        return self._passes or self._events is not None or self._held.whole_body is not None

    def begin(self, status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response; the names of `headers` are in lower case."""
        fields = dict(headers)
        self._passes = not _can_have_note(status, fields)
        if media_type(fields.get(b"content-type", b"")) == _STREAM:
            self._events = EventReader(limits.mcp_message_bytes_max)

    def head(self, headers: Sequence[HeaderField]) -> list[HeaderField]:
        """Return the headers for the client, once the response may begin."""
        return list(headers) if self._passes else self._held.head(headers)

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more."""
        if self._passes:
            return data
        if self._events is not None:
            return self._relay(self._events, data, ends=ends)
        return self._collect(data, ends=ends)

    def close(self) -> None:
        """Drop what is held back, and free its room."""
        self._held.drop()

    def _collect(self, data: bytes, *, ends: bool) -> bytes:
        noted = None
        try:
            self._held.collect(data, limits.mcp_message_bytes_max)
        except UnusableResponseError:
            ends = True
        else:
            if ends:
                noted = self._noted(bytes(self._held.collected))
        if not ends:
            return b""
        body = bytes(self._held.collected)
        self.close()
        self._held.whole_body, self._passes = noted, noted is None
        return body if noted is None else noted

    def _relay(self, reader: EventReader, data: bytes, *, ends: bool) -> bytes:
        events = [*reader.feed(data), *(reader.end() if ends else ())]
        passed = [self._noted_event(event) for event in events]
        try:
            self._held.hold(0 if ends else reader.held_bytes)
        except UnusableResponseError:
            passed += [event.raw for event in reader.end()]
            self._passes = True
        return b"".join(passed)

    def _noted_event(self, event: Event) -> bytes:
        if not event.is_whole or not event.data or event.kind != "message":
            return event.raw
        noted = self._noted(event.data)
        return event.raw if noted is None else structs.replace(event, data=noted).written_anew()

    def _noted(self, text: bytes) -> bytes | None:
        """Return a message with the note; None if it is not the result, or can have none."""
        try:
            message = self._read(text)
        except MalformedMessageError:
            return None
        is_result = message.kind == "response" and message.id_value == self._request_id
        return self._add_note(message) if is_result else None
