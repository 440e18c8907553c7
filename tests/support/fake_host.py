"""A connection without a socket: what a protocol's tests feed and read."""

from collections.abc import Callable, Coroutine

from crewgate.server.exchange import Exchange, ExchangeWork
from crewgate.server.request import ClientInfo

Application = Callable[[Exchange], Coroutine[None, None, None] | None]


class FakeHost:
    """Keeps the exchanges that are dispatched; the clock stands where it is put.

    `answer` works on each of them inline, as an application that refuses does.
    """

    def __init__(self) -> None:
        self.peer = ClientInfo("192.0.2.1", 4711)
        self.resumed = 0
        self.clock = 1000.0
        self.exchanges: list[Exchange] = []
        self.woken = 0
        self.answer: Callable[[Exchange], None] = lambda _: None

    def now(self) -> float:
        return self.clock

    def date(self) -> bytes:
        return b"Sun, 06 Nov 1994 08:49:37 GMT"

    def dispatch(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.answer(exchange)

    def run(self, exchange: Exchange, work: ExchangeWork) -> None:
        work()

    def wake(self) -> None:
        self.woken += 1

    def resume(self) -> None:
        self.resumed += 1
