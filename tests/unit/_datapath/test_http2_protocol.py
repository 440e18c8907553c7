"""Streams that a native call answers: who hears of their end, and what bounds them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import ngh2
import pytest
from http2_pair import GET, POST, Pair

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
        taker = self.protocol.taker = owner.EveryRequestTaker()
        self.calls: list[Any] = taker.calls


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
