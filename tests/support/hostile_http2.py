"""A tool over HTTP/2 whose answers are malformed where that is asked for (`malformed_http2`)."""

from contextlib import suppress

import ngh2
import trio
from malformed_http2 import CONNECTION, STREAM

KINDS = [*STREAM.values(), *CONNECTION.values()]
LATE_SECONDS = 0.1
_PATIENT = ngh2.Configuration(stream_reset_rate_limit=(10**6, 10**6))


async def serve(stream: trio.SocketStream, _: int) -> None:
    """Answer `/hostile/KIND`, an echo everything else, until the client closes."""
    engine = ngh2.Connection(ngh2.Role.SERVER, _PATIENT)
    engine.initiate_connection({ngh2.Setting.MAX_CONCURRENT_STREAMS: 100_000})
    await stream.send_all(engine.data_to_send())
    try:
        while data := await stream.receive_some():
            engine.receive_data(data)
            wrong = b""
            for event in engine.events():
                if isinstance(event, ngh2.RequestReceived):
                    wrong += _answer(engine, event)
            await stream.send_all(engine.data_to_send() + wrong)
    except ngh2.NGH2Error:
        return  # it has broken too many rules itself


async def serve_late(stream: trio.SocketStream, _: int) -> None:
    """The same, but an echo takes a while: such calls are under way where a connection breaks."""
    engine = ngh2.Connection(ngh2.Role.SERVER, _PATIENT)
    engine.initiate_connection({ngh2.Setting.MAX_CONCURRENT_STREAMS: 100_000})
    turn = trio.Lock()

    async def answer(request: ngh2.RequestReceived, late: float) -> None:
        with suppress(ngh2.NGH2Error, trio.BrokenResourceError):
            await trio.sleep(late)
            async with turn:
                wrong = _answer(engine, request)
                await stream.send_all(engine.data_to_send() + wrong)

    async with trio.open_nursery() as answering:
        with suppress(ngh2.NGH2Error, trio.BrokenResourceError):
            async with turn:
                await stream.send_all(engine.data_to_send())
            while data := await stream.receive_some():
                engine.receive_data(data)
                for event in engine.events():
                    if isinstance(event, ngh2.RequestReceived):
                        is_hostile = dict(event.headers)[b":path"].startswith(b"/hostile/")
                        answering.start_soon(answer, event, 0 if is_hostile else LATE_SECONDS)
                async with turn:
                    await stream.send_all(engine.data_to_send())
        answering.cancel_scope.cancel()


def _answer(engine: ngh2.Connection, request: ngh2.RequestReceived) -> bytes:
    """Have the engine echo the path, or return what it would never say."""
    path = dict(request.headers)[b":path"]
    number = request.stream_id
    if path.startswith(b"/hostile/"):
        return KINDS[int(path.split(b"/")[2])](number)
    length = (b"content-length", b"%d" % len(path))
    engine.send_response(number, [(b":status", b"200"), length])
    engine.send_data(number, path, end_stream=True)
    return b""
