"""Streams that a native call answers: who hears of their end, and what bounds them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import ngh2
import pytest
from http2_frames import head
from http2_pair import GET, POST, Pair
from hyperframe.frame import DataFrame, Frame, PriorityFrame, RstStreamFrame, WindowUpdateFrame

from crewgate import limits

ROOT = Path(__file__).parents[3]
CANCEL = int(ngh2.ErrorCode.CANCEL)
BUILD = """
from Cython.Build import cythonize
from setuptools import Extension, setup
root, folder = {root!r}, {folder!r}
headers = [f"{{root}}/ext/crewgate/{{package}}" for package in ("_native", "_datapath")]
flags = ["-O0", "-U_FORTIFY_SOURCE", "-Wno-unused-function"]
source = Extension(
    "stream_owner", [f"{{root}}/tests/native/stream_owner.pyx"],
    include_dirs=headers, extra_compile_args=flags,
)
modules = cythonize([source], include_path=[f"{{root}}/ext"], build_dir=folder, quiet=True)
setup(script_args=["-q", "build_ext", "-b", folder, "-t", folder], ext_modules=modules)
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module tests/native/stream_owner.pyx."""
    folder = tmp_path_factory.mktemp("stream_owner")
    script = BUILD.format(root=str(ROOT), folder=str(folder))
    built = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    (library,) = folder.glob("stream_owner.*.so")
    spec = importlib.util.spec_from_file_location("stream_owner", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class OwnedPair(Pair):
    """A client, and a protocol whose requests are all taken; `calls` answer them."""

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.taker = self.protocol.taker = owner.EveryRequestTaker()
        self.calls: list[Any] = self.taker.calls

    def receive(self, *frames: Frame | bytes) -> None:
        """Read these frames at once."""
        self.protocol.receive(
            b"".join([each if isinstance(each, bytes) else each.serialize() for each in frames])
        )


def test_a_call_answers_its_stream(owner: Any) -> None:
    """It reads the request in its arena, and hears of the end; Python makes no exchange."""
    pair = OwnedPair(owner)
    stream = pair.ask([*GET, (b"a", b"b")])
    (call,) = pair.calls
    assert (call.path, call.ordinary_fields) == (b"/", 1)
    owner.answer(pair.protocol, call, b"body")
    pair.pump()
    assert [event.data for event in pair.of(ngh2.DataReceived)] == [b"body"]
    assert call.ended == [(stream, 0)]
    assert not pair.host.exchanges
    assert pair.protocol.requests == 1


def test_a_large_head_is_whole_in_its_arena(owner: Any) -> None:
    """However it is cut, and although its block has to grow."""
    fields = [*POST, (b"x-large", b"y" * 20_000), *[(b"x-%d" % n, b"z") for n in range(60)]]
    pair = OwnedPair(owner)
    pair.client.send_request(fields, end_stream=True)
    wire = pair.client.data_to_send()
    for start in range(0, len(wire), 997):
        pair.protocol.receive(wire[start : start + 997])
    exchange = owner.exchange_of(pair.protocol, pair.calls[0])
    assert list(exchange.request.headers) == fields[4:]


def test_a_call_hears_that_its_client_left(owner: Any) -> None:
    """Once: of a reset, and of each way in which the connection may end."""

    def reset(pair: OwnedPair, stream: int) -> None:
        pair.client.reset_stream(stream)
        pair.pump()

    def flood(pair: OwnedPair, _: int) -> None:
        pair.ask([*GET, *[(b"x-%d" % n, b"y") for n in range(300)]])

    def violation(pair: OwnedPair, _: int) -> None:
        pair.protocol.receive(b"\xff" * 200)
        while pair.protocol.bytes_to_send():
            pass
        assert not pair.protocol.sent_all()

    for end in (reset, flood, violation, lambda pair, _: pair.protocol.lose()):
        pair = OwnedPair(owner)
        stream = pair.ask(GET)
        end(pair, stream)
        pair.protocol.lose()
        assert [number for number, _ in pair.calls[0].ended] == [stream]


def test_a_call_that_fails_at_its_end_keeps_no_other_from_it(
    owner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The client disconnects: each native call hears of it once, and each exchange is lost."""
    pair = OwnedPair(owner)
    streams = [pair.ask(GET) for _ in range(3)]
    pair.taker.willing = False
    pair.ask(GET)
    for call in pair.calls[:2]:
        call.fails = True
    pair.protocol.lose()
    assert [call.ended for call in pair.calls] == [[(stream, CANCEL)] for stream in streams]
    assert [exchange.gone for exchange in pair.host.exchanges] == [True]
    assert caplog.text.count("cannot end a call whose client has left") == 2


def test_a_stream_that_is_closed_already_is_not_taken(owner: Any) -> None:
    """A request and its reset in one read: it becomes an exchange, which is lost."""
    pair = OwnedPair(owner)
    stream = pair.client.send_request(GET, end_stream=True)
    wire = pair.client.data_to_send()
    pair.client.reset_stream(stream)
    pair.protocol.receive(wire + pair.client.data_to_send())
    assert not pair.calls
    assert [exchange.gone for exchange in pair.host.exchanges] == [True]


def test_a_client_that_does_not_read_is_reset(owner: Any) -> None:
    """In the time that an exchange gives it, from the answer on."""
    pair = OwnedPair(owner)
    stream = pair.ask(GET)
    now = pair.host.clock + 2 * limits.send_wait_seconds_max
    assert pair.protocol.sweep(now)  # no answer yet
    owner.answer(pair.protocol, pair.calls[0], bytes(3 * limits.stream_window_bytes))
    for later in (0, limits.send_wait_seconds_max):
        pair.protocol.sweep(now + later)
    assert pair.protocol.counters.answers_unread == 0
    for later in (1, 2):
        pair.protocol.sweep(now + limits.send_wait_seconds_max + later)
    pair.pump()
    assert pair.protocol.counters.answers_unread == 1
    assert [event.stream_id for event in pair.of(ngh2.StreamReset)] == [stream]
    assert pair.calls[0].ended == [(stream, CANCEL)]


def test_a_call_becomes_an_exchange(owner: Any) -> None:
    """Which answers the stream, and hears of its end, and the call does not; once only."""
    pair = OwnedPair(owner)
    pair.ask(GET)
    exchange = owner.exchange_of(pair.protocol, pair.calls[0])
    assert exchange.complete
    exchange.respond(200, [], b"x")
    pair.pump()
    assert [event.data for event in pair.of(ngh2.DataReceived)] == [b"x"]
    assert owner.exchange_of(pair.protocol, pair.calls[0]) is None
    stream = pair.ask(GET)
    exchange = owner.exchange_of(pair.protocol, pair.calls[1])
    pair.client.reset_stream(stream)
    pair.pump()
    assert exchange.gone
    assert [call.ended for call in pair.calls] == [[], []]
    # A request that the Python side refuses.
    pair.ask([*GET, (b"host", b"another")])
    assert owner.exchange_of(pair.protocol, pair.calls[2]) is None
    pair.pump()
    assert dict(pair.of(ngh2.ResponseReceived)[-1].headers)[b":status"] == b"400"


def test_a_drain_waits_for_native_calls(owner: Any) -> None:
    """And a connection that has one is not idle."""
    pair = OwnedPair(owner)
    pair.ask(GET)
    assert pair.protocol.sweep(pair.host.clock + 2 * limits.idle_seconds_max)
    pair.protocol.drain(urgent=True)
    pair.pump()
    assert not pair.of(ngh2.GoAwayReceived)
    owner.answer(pair.protocol, pair.calls[0], b"x")
    pair.pump()
    assert pair.of(ngh2.GoAwayReceived)
    assert pair.protocol.closing


def data(number: int, text: bytes, *flags: str, padding: int = 0) -> DataFrame:
    """A DATA frame."""
    flags = (*flags, "PADDED") if padding else flags
    return DataFrame(number, text, pad_length=padding, flags=flags)


def test_a_body_that_is_read_with_its_head_belongs_to_the_request(owner: Any) -> None:
    """Whatever else is between its frames. Its windows open, and no exchange hears of it."""
    pair = OwnedPair(owner)
    heard: list[tuple[int, bytes, bool]] = []
    pair.protocol.data_received = lambda *event: heard.append(event)  # type: ignore[method-assign]
    largest = b"z" * limits.straight_body_bytes_max
    declared = (b"content-length", b"%d" % len(largest))
    pair.receive(
        head(1, POST),
        head(3, POST),
        data(3, b"", padding=7),
        PriorityFrame(1, depends_on=0, stream_weight=3),
        data(1, b"on"),
        data(3, b"two", padding=7),
        WindowUpdateFrame(1, window_increment=5),
        data(1, b""),
        data(1, b"e", "END_STREAM"),
        data(3, b"", "END_STREAM"),
        head(5, POST),
        data(5, b"", "END_STREAM"),
        head(7, [*POST, declared]),
        data(7, largest[:9000]),
        data(7, largest[9000:], "END_STREAM"),
    )
    assert [call.body for call in pair.calls] == [b"one", b"two", b"", largest]
    assert not pair.host.exchanges
    assert not heard
    for number in (1, 3, 7):
        with pytest.raises(ValueError, match="unacknowledged"):
            pair.protocol.engine.acknowledge_received_data(1, number)
    exchange = owner.exchange_of(pair.protocol, pair.calls[0])
    assert (exchange.complete, exchange.bytes_in, exchange.take()) == (True, 3, b"")


def test_bodies_count_as_no_control_bytes(owner: Any) -> None:
    """A client may send many of them before it reads the answers."""
    pair = OwnedPair(owner)
    for number in range(1, 4 * limits.control_bytes_max // 10_000 * 2, 2):
        pair.receive(head(number, POST), data(number, bytes(10_000), "END_STREAM"))
        owner.answer(pair.protocol, pair.calls[-1], b"x")
    assert len(pair.calls) > 20
    assert not pair.protocol.paused


NOT_WHOLE: dict[str, list[list[Frame | bytes]]] = {
    "without its end": [[head(1, POST), data(1, b"abc")], [data(1, b"", "END_STREAM")]],
    "in another read": [[head(1, POST)], [data(1, b"abc", "END_STREAM")]],
    "with trailers": [[head(1, POST), data(1, b"abc"), head(1, [(b"x-sum", b"1")], "END_STREAM")]],
    "too large": [
        [head(1, POST), data(1, b"abc"), data(1, bytes(16_384 - 3)), data(1, b"x", "END_STREAM")]
    ],
    "in too many frames": [
        [head(1, POST), *[data(1, b"") for _ in range(300)], data(1, b"abc", "END_STREAM")]
    ],
    "reset": [[head(1, POST), data(1, b"abc"), RstStreamFrame(1, error_code=8)]],
    "shorter than it should be": [
        [head(1, [*POST, (b"content-length", b"4")]), data(1, b"abc", "END_STREAM")]
    ],
    "longer than it should be": [
        [head(1, [*POST, (b"content-length", b"2")]), data(1, b"abc", "END_STREAM")]
    ],
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_a_body_that_is_not_whole_belongs_to_an_exchange(owner: Any, case: str) -> None:
    """Which gets each byte of it that it would get if native calls did not exist."""
    with_taker, without = OwnedPair(owner), OwnedPair(owner)
    without.protocol.taker = None
    for frames in NOT_WHOLE[case]:
        with_taker.receive(*frames)
        without.receive(*frames)
    assert with_taker.taker.offered == [None]
    assert not with_taker.calls
    seen = [
        [(each.take(), each.bytes_in, each.complete, each.gone) for each in pair.host.exchanges]
        for pair in (with_taker, without)
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


def test_a_request_that_is_declined_keeps_its_body(owner: Any) -> None:
    """It becomes an exchange, as if it had been offered to no native call."""
    pair = OwnedPair(owner)
    pair.taker.willing = False
    pair.receive(head(1, POST), data(1, b"ab"), data(1, b"c", "END_STREAM"))
    assert pair.taker.offered == [b"abc"]
    (exchange,) = pair.host.exchanges
    assert (exchange.complete, exchange.take()) == (True, b"abc")


def test_a_stream_that_is_reset_after_its_body_is_not_taken(owner: Any) -> None:
    """All in one read: it becomes an exchange, which is lost."""
    pair = OwnedPair(owner)
    pair.receive(head(1, POST), data(1, b"abc", "END_STREAM"), RstStreamFrame(1, error_code=8))
    assert pair.taker.offered == [b"abc"]
    assert not pair.calls
    assert [exchange.gone for exchange in pair.host.exchanges] == [True]


def test_small_frames_of_a_read_are_one_piece_of_a_body(owner: Any) -> None:
    """Those of each stream, in their order, up to its trailers, its end or its reset."""
    pair = OwnedPair(owner)
    pair.taker.willing = False
    heard: list[tuple[int, bytes, bool]] = []
    pair.protocol.data_received = lambda *event: heard.append(event)  # type: ignore[method-assign]
    pair.receive(*[head(number, POST) for number in (1, 3, 5, 7)])
    pair.receive(
        *[data(number, b"%x" % at) for at in range(9) for number in (1, 3, 5, 7)],
        head(1, [(b"x-sum", b"1")], "END_STREAM"),
        data(3, b"", padding=7),
        RstStreamFrame(5, error_code=8),
        WindowUpdateFrame(7, window_increment=5),
        data(3, b"9", "END_STREAM"),
        data(7, b"9"),
    )
    whole = b"0123456789"
    assert heard == [
        (1, whole[:9], False),
        (3, whole, True),
        (5, whole[:9], False),
        (7, whole, False),
    ]
