"""The own client's connection, against h2 as its server."""

from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import h2.settings

from bench.hop import frames
from bench.hop.conversation import Conversation, Tally

HEAD = frames.head("GET", "localhost", "/page", "token")
POST = frames.head("POST", "localhost", "/take", "token")


class Server:
    """h2, and what it has seen."""

    def __init__(self, window: int = 65_535) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.engine = h2.connection.H2Connection(config)
        code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
        self.engine.local_settings = h2.settings.Settings(
            client=False, initial_values={code: window}
        )
        self.engine.initiate_connection()
        self.asked: list[int] = []
        self.bodies: dict[int, list[int]] = {}
        self.ended: list[int] = []

    def take(self, conversation: Conversation) -> None:
        for event in self.engine.receive_data(bytes(conversation.out)):
            if isinstance(event, h2.events.RequestReceived):
                self.asked.append(event.stream_id or 0)
            elif isinstance(event, h2.events.DataReceived):
                self.bodies.setdefault(event.stream_id or 0, []).append(len(event.data or b""))
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.append(event.stream_id or 0)
        conversation.out.clear()

    def answer(self, stream: int, status: str = "200") -> None:
        self.engine.send_headers(stream, [(":status", status)])
        self.engine.send_data(stream, b"body", end_stream=True)

    def give(self, conversation: Conversation, now: float) -> None:
        conversation.receive(self.engine.data_to_send(), now)


def conversation(
    count: int, tally: Tally, streams: int = 2, pieces: tuple[int, int] = (0, 1), head: bytes = HEAD
) -> Conversation:
    left: Iterator[bytes] = iter([head] * count)
    return Conversation(lambda: next(left, None), tally, streams, pieces)


def test_so_many_requests_are_under_way_and_no_more() -> None:
    """The next one is asked when an answer has come to its end; its time is taken."""
    server, tally = Server(), Tally()
    talk = conversation(3, tally)
    talk.fill(1.0)
    server.take(talk)
    assert server.asked == [1, 3]
    server.answer(1)
    server.give(talk, 1.25)
    assert (tally.good, tally.milliseconds) == (1, [250.0])
    talk.fill(2.0)
    server.take(talk)
    assert server.asked == [1, 3, 5]
    server.answer(3, "403")
    server.answer(5)
    server.give(talk, 3.0)
    assert (tally.good, tally.other, tally.lost) == (2, 1, 0)
    talk.fill(3.0)
    assert talk.over


def test_a_body_goes_in_pieces_within_the_windows() -> None:
    """A piece a turn; what the peer has no room for waits until it has."""
    server, tally = Server(window=250), Tally()
    talk = conversation(1, tally, pieces=(4, 100), head=POST)
    server.give(talk, 0.0)
    for _ in range(5):
        talk.fill(0.0)
        server.take(talk)
    assert server.bodies == {1: [100, 100]}
    assert not talk.owing
    server.engine.increment_flow_control_window(200, stream_id=1)
    server.give(talk, 0.0)
    assert talk.owing
    for _ in range(3):
        talk.fill(0.0)
        server.take(talk)
    assert server.bodies == {1: [100] * 4}
    assert server.ended == [1]


def test_a_connection_that_goes_takes_its_requests_with_it() -> None:
    """A reset is one lost, an end all of them, and a GOAWAY lets none begin."""
    server, tally = Server(), Tally()
    talk = conversation(9, tally)
    talk.fill(0.0)
    server.take(talk)
    server.engine.reset_stream(1)
    server.engine.close_connection()
    server.give(talk, 0.0)
    assert tally.lost == 1
    talk.fill(0.0)
    assert server.asked == [1, 3]
    assert len(talk.calls) == 1
    talk.end()
    assert tally.lost == 2
    assert talk.over


def test_pings_and_settings_are_acknowledged() -> None:
    """Or the peer would wait for that, or hang up."""
    server, tally = Server(), Tally()
    talk = conversation(0, tally)
    server.take(talk)
    server.engine.ping(b"12345678")
    server.give(talk, 0.0)
    events = server.engine.receive_data(bytes(talk.out))
    kinds = {type(event) for event in events}
    assert {h2.events.PingAckReceived, h2.events.SettingsAcknowledged} <= kinds
