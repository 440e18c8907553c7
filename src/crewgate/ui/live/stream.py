"""`GET /api/live`: the stream of events of one watcher (Server-Sent Events)."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Final

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from crewgate import limits
from crewgate.ui.endpoint import PageEndpoint, PageRequest, SessionEnd
from crewgate.ui.live.feed import LiveFeed
from crewgate.ui.live.update import event
from crewgate.ui.live.watcher import View, Watcher
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right

_encode = msgspec.json.Encoder().encode
# The last one is for nginx: it must pass on each event at once.
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
LookUp = Callable[[], Person | SessionEnd]


async def live(state: PageState, person: Person, request: PageRequest) -> StreamingResponse:
    """Return the stream of what the person may view. Raises ControlError 403 or 429."""
    if not person.may_somewhere(Right.VIEW):
        person.demand(Right.VIEW, "")
    state.live.demand_room(person.name)
    state.stream_limit.take(person.name)
    return LiveResponse(state.live, person, request.look_up)


class LiveResponse(StreamingResponse):
    """The response whose events end with the session, or with the rights of the person."""

    def __init__(self, feed: LiveFeed, person: Person, look_up: LookUp) -> None:
        super().__init__((), 200, _HEADERS, "text/event-stream")
        self._feed, self._person, self._look_up = feed, person, look_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the session ends or the browser goes."""
        with self._feed.watching(self._person.name) as watcher:
            found = events(self._feed, watcher, self._person, self._look_up)
            async with aclosing(found), aclosing(_chunks(found)) as chunks:
                self.body_iterator = chunks
                await super().__call__(scope, receive, send)


async def events(
    feed: LiveFeed, watcher: Watcher, person: Person, look_up: LookUp
) -> AsyncGenerator[bytes, None]:
    """Yield the events of one watcher. Before each, the session and the rights are looked up."""
    view = View(person)
    documents = _Documents(feed, view)
    pieces: Iterator[bytes] = iter(())
    while True:
        if why := _end(person, look_up()):
            yield event("session", _encode({"why": why}))
            return
        if (found := documents.next()) is not None:
            yield found
        elif feed.tree is not None and watcher.must_begin():
            pieces = feed.tree.pieces(view.sees, is_whole=view.is_whole)
        elif (piece := next(pieces, None)) is not None:
            yield piece
        elif (update := watcher.next()) is not None:
            yield update.event(view.sees, is_whole=view.is_whole)
        elif not await watcher.wait(limits.ui_repeat_seconds) and feed.tree is not None:
            # The reader waits for a machine. Without any event, a browser would connect again.
            yield feed.tree.unchanged().event(view.sees, is_whole=view.is_whole)


def _end(person: Person, now: Person | SessionEnd) -> str:
    """Return why a stream ends; empty if it goes on."""
    if not isinstance(now, Person):
        return now
    return "" if now.rights == person.rights else "rights"


class _Documents:
    """The events about machines and alerts, each sent when it has changed."""

    def __init__(self, feed: LiveFeed, view: View) -> None:
        self._feed, self._view = feed, view
        self._sent: dict[str, bytes] = {}
        self._seen: object = None

    def next(self) -> bytes | None:
        """Return an event that the watcher lacks; None if it has all."""
        newest = self._feed.documents
        if newest is self._seen:
            return None
        for name, document in newest.items():
            found = document(self._view)
            if found != self._sent.get(name):
                self._sent[name] = found
                return event(name, found)
        self._seen = newest
        return None


async def _chunks(found: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield events in chunks, so that a slow browser causes no copy of a large one."""
    async for each in found:
        for start in range(0, len(each), limits.ui_chunk_bytes_max):
            yield each[start : start + limits.ui_chunk_bytes_max]


LIVE: Final = PageEndpoint("GET", "/api/live", live)
