"""Reads the response of an agent, message by message, and writes it for the client.

A client gets only messages that were read: a JSON body whole or not at all, a stream of events
event by event, a body of gRPC message by message. A body of another type is an error.
"""

from collections.abc import Sequence

from msgspec import structs

from crewgate import limits
from crewgate.core.a2a import grpc_messages, json_messages, protobuf_messages
from crewgate.core.a2a.errors import INVALID_AGENT_RESPONSE, A2AError
from crewgate.core.a2a.message_fields import Field, Fields
from crewgate.core.a2a.methods import Binding
from crewgate.core.a2a.text_rewriting import TextRewriter
from crewgate.core.body_encoding import media_type
from crewgate.core.event_stream import Event, EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.held_response import HeldResponse, too_large
from crewgate.core.http_types import HeaderField
from crewgate.errors import UnusableResponseError

_JSON_TYPES = frozenset({b"application/json", b"application/a2a+json"})
_STREAM, _GRPC = b"text/event-stream", b"application/grpc"


class AgentResponse:
    """The response to one request.

    `is_over`: nothing more follows. The body has ended, or the response was unusable.
    """

    def __init__(
        self,
        binding: Binding,
        fields: Fields,
        texts: TextRewriter,
        room: FairShareLimiter,
        crew: str,
    ) -> None:
        """`fields` are those of the response, or of one event of a stream.

        `room` bounds what all responses of a process hold back, and what those of one `crew` do.
        """
        self.is_over = False
        is_rpc = binding is Binding.JSONRPC
        self._fields = Fields({"result": Field(0, fields)}) if is_rpc else fields
        self._binding = binding
        self._texts = texts
        self._held = HeldResponse(room, crew)
        self._why_unread = ""  # of a body of another type
        self._events: EventReader | None = None
        self._frames: grpc_messages.MessageReader | None = None

    @property
    def may_begin(self) -> bool:
        """Whether the head may be sent to the client: a stream has begun, or a body is whole."""
        is_stream = self._events is not None or self._frames is not None
        return is_stream or self._held.whole_body is not None

    def begin(self, _status: int, headers: Sequence[HeaderField]) -> None:
        """Read the head of the response; the names of `headers` are in lower case."""
        fields = dict(headers)
        kind = media_type(fields.get(b"content-type", b""))
        if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            self._why_unread = "its body is compressed"
        elif self._binding is Binding.GRPC and kind.startswith(_GRPC):
            self._frames = grpc_messages.MessageReader(
                limits.a2a_message_bytes_max, INVALID_AGENT_RESPONSE
            )
        elif self._binding is not Binding.GRPC and kind == _STREAM:
            self._events = EventReader(limits.a2a_message_bytes_max)
        elif self._binding is Binding.GRPC or kind not in _JSON_TYPES:
            self._why_unread = "its body has a type that its binding of A2A does not have"

    def head(self, headers: Sequence[HeaderField]) -> list[HeaderField]:
        """Return the headers for the client, once the response may begin."""
        return self._held.head(headers)

    @property
    def whole_body(self) -> bytes:
        """The body that the client gets, if it is whole."""
        return self._held.whole_body or b""

    def feed(self, data: bytes, *, ends: bool) -> bytes:
        """Return what the client gets for the next bytes of the body; `ends`: it has no more.

        Raises:
            UnusableResponseError: The client must not get the response, or the rest of it.
        """
        if self.is_over:
            return b""
        try:
            passed = self._passed(data, ends=ends)
        except A2AError as error:
            self.close()
            raise UnusableResponseError(str(error)) from error
        except UnusableResponseError as error:
            self.close()
            raise UnusableResponseError(f"the response cannot be passed on: {error}") from error
        if ends:
            self.close()
        return passed

    def close(self) -> None:
        """Drop what is held back, and free its room."""
        self.is_over = True
        self._held.drop()

    def _passed(self, data: bytes, *, ends: bool) -> bytes:
        if self._events is not None:
            return self._relay_events(self._events, data, ends=ends)
        if self._frames is not None:
            return self._relay_frames(self._frames, data, ends=ends)
        if data and self._why_unread:
            raise UnusableResponseError(self._why_unread)
        self._held.collect(data, limits.a2a_message_bytes_max)
        if not ends:
            return b""
        body = bytes(self._held.collected)
        self._held.whole_body = (
            json_messages.rewrite(body, self._fields, self._texts) if body else b""
        )
        return self._held.whole_body

    def _relay_events(self, reader: EventReader, data: bytes, *, ends: bool) -> bytes:
        events = [*reader.feed(data), *(reader.end() if ends else ())]
        passed = b"".join(map(self._event, events))
        self._held.hold(reader.held_bytes)
        return passed

    def _event(self, event: Event) -> bytes:
        if not event.is_whole:
            raise too_large(limits.a2a_message_bytes_max)
        if not event.data:
            return event.raw
        data = json_messages.rewrite(event.data, self._fields, self._texts)
        if data == event.data:
            return event.raw
        return structs.replace(event, data=data, id=None).written_anew()

    def _relay_frames(
        self, reader: grpc_messages.MessageReader, data: bytes, *, ends: bool
    ) -> bytes:
        passed = [
            grpc_messages.framed(protobuf_messages.rewrite(message, self._fields, self._texts))
            for message in reader.feed(data)
        ]
        if ends and reader.held_bytes:
            raise UnusableResponseError("it ends in the middle of a message of gRPC")
        self._held.hold(reader.held_bytes)
        return b"".join(passed)
