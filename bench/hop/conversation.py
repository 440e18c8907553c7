"""One HTTP/2 connection of the own client, without its socket: asks, sends bodies, counts answers.

Pure: time is an argument. Every answer is read to its end and nothing of it is kept. Windows of the
peer are respected; ours are so large that no answer ever waits.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.hop import frames
from bench.hop.frames import Frame, Frames

OUR_WINDOW = 2**30  # of the connection and of each stream; a client ends before it is used up


@dataclass
class Tally:
    """What came of the requests of all connections."""

    good: int = 0  # 200, to the end
    other: int = 0  # another status, to the end
    lost: int = 0  # reset, or gone with the connection
    milliseconds: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Read to the end."""
        return self.good + self.other


@dataclass
class Call:
    """A request under way: when it began, the pieces of its body that are still to be sent."""

    began: float
    owed: int
    window: int
    good: bool = False


class Conversation:
    """`ask` gives the next field block, or None if there is nothing more to ask."""

    def __init__(
        self, ask: Callable[[], bytes | None], tally: Tally, streams: int, pieces: tuple[int, int]
    ) -> None:
        """`pieces`: how many a body has, and the bytes of each."""
        self.ask, self.tally, self.streams = ask, tally, streams
        self.pieces = pieces[0]
        self.piece = b"p" * pieces[1]
        self.out = bytearray(
            frames.PREFACE
            + frames.settings({frames.INITIAL_WINDOW: OUR_WINDOW})
            + frames.window_update(0, OUR_WINDOW - frames.WINDOW)
        )
        self.calls: dict[int, Call] = {}
        self.closing = False
        self.next = 1
        self._frames = Frames()
        self._window = self._initial = frames.WINDOW

    def fill(self, now: float) -> None:
        """As many requests as may be under way, and a piece of each body."""
        while not self.closing and len(self.calls) < self.streams:
            block = self.ask()
            if block is None:
                break
            flags = frames.END_HEADERS | (0 if self.pieces else frames.END_STREAM)
            self.out += frames.frame(frames.HEADERS, flags, self.next, block)
            self.calls[self.next] = Call(now, self.pieces, self._initial)
            self.next += 2
        if self.pieces:
            self._send_pieces()

    @property
    def owing(self) -> bool:
        """Whether a body could go on now."""
        size = len(self.piece)
        return self._window >= size and any(
            call.owed and call.window >= size for call in self.calls.values()
        )

    @property
    def over(self) -> bool:
        """Nothing is under way, and nothing more will be asked."""
        return not self.calls

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the peer."""
        for each in self._frames.feed(data):
            self._take(each, now)

    def end(self) -> None:
        """The connection is gone."""
        self.tally.lost += len(self.calls)
        self.calls.clear()
        self.closing = True

    def _send_pieces(self) -> None:
        size = len(self.piece)
        for stream, call in self.calls.items():
            if call.owed and min(call.window, self._window) >= size:
                call.owed -= 1
                call.window -= size
                self._window -= size
                flags = 0 if call.owed else frames.END_STREAM
                self.out += frames.frame(frames.DATA, flags, stream, self.piece)

    def _take(self, each: Frame, now: float) -> None:
        kind, flags, stream, payload = each
        call = self.calls.get(stream)
        if kind == frames.HEADERS and call is not None and not call.good:
            call.good = frames.is_200(payload)
        if kind in {frames.HEADERS, frames.DATA}:
            if flags & frames.END_STREAM and call is not None:
                self._answered(stream, call, now)
        elif kind == frames.WINDOW_UPDATE:
            self._widen(call, stream, int.from_bytes(payload, "big"))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._obey(payload)
        elif kind == frames.PING and not flags & frames.ACK:
            self.out += frames.frame(frames.PING, frames.ACK, 0, payload)
        elif kind == frames.RESET and call is not None:
            del self.calls[stream]
            self.tally.lost += 1
        elif kind == frames.GOAWAY:
            self.closing = True

    def _answered(self, stream: int, call: Call, now: float) -> None:
        del self.calls[stream]
        if call.good:
            self.tally.good += 1
        else:
            self.tally.other += 1
        self.tally.milliseconds.append((now - call.began) * 1e3)

    def _widen(self, call: Call | None, stream: int, count: int) -> None:
        if stream == 0:
            self._window += count
        elif call is not None:
            call.window += count

    def _obey(self, payload: bytes) -> None:
        for key, value in frames.setting_pairs(payload):
            if key == frames.INITIAL_WINDOW:
                for call in self.calls.values():
                    call.window += value - self._initial
                self._initial = value
        self.out += frames.frame(frames.SETTINGS, frames.ACK, 0)
