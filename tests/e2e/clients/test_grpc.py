"""gRPC: grpcio at both ends, HTTP/2 on both sides, the status in trailers."""

from collections.abc import Iterator
from threading import Semaphore

import pytest
from client_world import ClientWorld

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")


@pytest.fixture
def channel(world: ClientWorld) -> Iterator["grpc.Channel"]:
    credentials = grpc.ssl_channel_credentials(world.ca.read_bytes())
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"127.0.0.1:{world.port}", credentials, options) as channel:
        yield channel


def metadata(world: ClientWorld) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {world.token}"),)


def test_unary(world: ClientWorld, channel: "grpc.Channel") -> None:
    """An answer, and in its trailers what the server heard of the caller."""
    answer, call = channel.unary_unary("/echo.Echo/Unary").with_call(
        b"hello" * 50_000, metadata=metadata(world), timeout=30
    )
    assert answer == b"hello" * 50_000
    assert dict(call.trailing_metadata())["x-role"] == "tester"
    assert call.code() is grpc.StatusCode.OK


def test_server_streaming(world: ClientWorld, channel: "grpc.Channel") -> None:
    """Messages as they come, then the trailers."""
    call = channel.unary_stream("/echo.Echo/Stream")(b"n", metadata=metadata(world), timeout=30)
    assert list(call) == [b"n0", b"n1", b"n2"]
    assert dict(call.trailing_metadata())["x-sum"] == "3"
    assert call.code() is grpc.StatusCode.OK


def test_both_ways(world: ClientWorld, channel: "grpc.Channel") -> None:
    """Each question is asked when the answer to the one before has come."""
    came = Semaphore(1)

    def questions() -> Iterator[bytes]:
        for number in range(3):
            assert came.acquire(timeout=20)
            yield b"%d" % number

    call = channel.stream_stream("/echo.Echo/Chat")
    answers = []
    for answer in call(questions(), metadata=metadata(world), timeout=30):
        answers.append(answer)
        came.release()
    assert answers == [b"0", b"1", b"2"]


def test_status(world: ClientWorld, channel: "grpc.Channel") -> None:
    """A failure of the server's is the client's, with its words."""
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/echo.Echo/Fail")(b"", metadata=metadata(world), timeout=30)
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == "not today"


def test_refusal(world: ClientWorld, channel: "grpc.Channel") -> None:
    """A refusal is what gRPC makes of its HTTP status: 401 is UNAUTHENTICATED."""
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/echo.Echo/Unary")(b"", timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
