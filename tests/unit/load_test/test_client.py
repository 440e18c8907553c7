"""A connection of the load test's client against a server in memory, and when requests are due."""

import ngh2
import pytest
from ngh2 import Configuration, Connection, Role, Setting

from crewgate.load_test.http2_connection import ClientConnection
from crewgate.load_test.pacer import Pacer
from crewgate.load_test.plan import Request, Step, Target


class Server:
    """The other end, in memory."""

    def __init__(self, streams: int = 100) -> None:
        self.engine = Connection(Role.SERVER, Configuration())
        self.engine.initiate_connection({Setting.MAX_CONCURRENT_STREAMS: streams})
        self.requests: list[ngh2.RequestReceived] = []

    def exchange(self, client: ClientConnection) -> None:
        """Carry bytes both ways until there are none left."""
        while True:
            up, down = client.output(), self.engine.data_to_send()
            if not up and not down:
                return
            if up:
                self.engine.receive_data(up)
            for event in self.engine.events():
                if isinstance(event, ngh2.RequestReceived):
                    self.requests.append(event)
            if down:
                client.receive(down)

    def answer(self, status: bytes, body: bytes = b"") -> None:
        stream = self.requests.pop(0).stream_id
        self.engine.send_response(stream, [(b":status", status)], end_stream=not body)
        if body:
            self.engine.send_data(stream, body, end_stream=True)


class Ends:
    """A client and what it reports."""

    def __init__(self, body: bytes = b"", streams: int = 8) -> None:
        self.answers: list[tuple[float, int, bytes]] = []
        request = Request(Target.of("https://gw/a"), "POST", ((b"authorization", b"x"),), body)
        self.client = ClientConnection(request, streams, lambda *each: self.answers.append(each))


def test_answers_have_their_status_and_refusals_their_body() -> None:
    """The body of a good answer is read, and not kept."""
    ends, server = Ends(body=b"content"), Server()
    for moment in (1.0, 2.0):
        assert ends.client.has_free_stream
        ends.client.send_request(moment)
    server.exchange(ends.client)
    assert (b"authorization", b"x") in [tuple(field) for field in server.requests[0].headers]
    server.answer(b"200", b"good")
    server.answer(b"403", b"r" * 10_000)
    server.exchange(ends.client)
    assert [(began, status) for began, status, _ in ends.answers] == [(1.0, 200), (2.0, 403)]
    assert [len(body) for _, _, body in ends.answers] == [0, 4096]
    assert (ends.client.open_count, ends.client.is_closing) == (0, False)


def test_a_client_opens_no_more_streams_than_the_server_takes() -> None:
    """The server says how many in its settings."""
    ends, server = Ends(), Server(streams=2)
    server.exchange(ends.client)
    for _ in range(2):
        ends.client.send_request(0.0)
    assert not ends.client.has_free_stream


def test_requests_without_an_answer_are_lost() -> None:
    """By a reset, or with their connection; a server that says GOAWAY gets no further request."""
    ends, server = Ends(), Server()
    for _ in range(2):
        ends.client.send_request(0.0)
    server.exchange(ends.client)
    server.engine.reset_stream(server.requests.pop(0).stream_id)
    server.engine.send_goaway()
    server.exchange(ends.client)
    assert [status for _, status, _ in ends.answers] == [0]
    assert ends.client.is_closing
    assert ends.client.open_count == 1
    ends.client.end()
    assert [status for _, status, _ in ends.answers] == [0, 0]
    assert ends.client.output() == b""


def test_bytes_that_are_no_http2_end_the_connection() -> None:
    """All of its requests are lost."""
    ends = Ends()
    ends.client.send_request(0.0)
    ends.client.output()
    ends.client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    ends.client.output()
    assert ends.client.is_closing


def test_a_fixed_rate_counts_from_when_a_request_was_due() -> None:
    """Also if it is sent later, so that no wait is hidden."""
    pacer = Pacer(Step("", 1.0, rate=10.0), 100.0)
    assert pacer.due(100.0) == 100.0
    pacer.note_sent()
    assert pacer.due(100.05) is None
    assert pacer.seconds_to_next(100.06) == pytest.approx(0.04)
    assert pacer.due(100.5) == pytest.approx(100.1)
    assert (pacer.due(101.0), pacer.unsent) == (None, 9)


def test_a_load_without_a_rate_ends_after_its_count_or_its_time() -> None:
    """Whichever is first."""
    pacer = Pacer(Step("", 1.0, requests=1), 100.0)
    assert pacer.due(100.3) == 100.3
    pacer.note_sent()
    assert pacer.is_over(100.3)
    assert Pacer(Step("", 1.0), 100.0).is_over(101.0)
    assert pacer.unsent == 0
