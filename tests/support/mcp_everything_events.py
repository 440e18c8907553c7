"""The events of the everything-server, which keeps them for clients that resume a stream.

The SDK names a stream by the id of its request, which clients choose: two sessions can have streams
of one name. So each event is kept with its session, which `SessionNotes` finds in the headers.
"""

from collections import deque
from contextvars import ContextVar

import mcp_types as types
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVENTS_MAX = 10_000  # events that a client can ask for again
_HEADER = b"mcp-session-id"


class Session:
    """The session of one HTTP request; `id` is empty until the server has begun one."""

    def __init__(self, name: bytes) -> None:
        self.id = name


_session: ContextVar[Session] = ContextVar("session")


class SessionNotes:
    """Middleware that notes the session of each request, also for the work that it begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = Session(dict(scope.get("headers", ())).get(_HEADER, b""))
        _session.set(session)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                session.id = dict(message["headers"]).get(_HEADER, session.id)
            await send(message)

        await self._app(scope, receive, note)


class Events(EventStore):
    """The last events of all sessions."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, Session, str, types.JSONRPCMessage | None]] = deque(
            maxlen=EVENTS_MAX
        )
        self._number = 0

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._number += 1
        self._events.append((self._number, _session.get(), stream_id, message))
        return str(self._number)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        kept = list(self._events)
        stream = next((s for number, _, s, _ in kept if str(number) == last_event_id), None)
        for number, session, of, message in kept:
            is_later = number > int(last_event_id) and message is not None
            if of == stream and session.id == _session.get().id and is_later:
                await send_callback(EventMessage(message, str(number)))
        return stream
