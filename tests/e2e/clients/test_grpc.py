"""gRPC: grpcio at both ends, HTTP/2 on both sides, the status in trailers."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Semaphore

import pytest
from client_gateway import ClientWorld

from crewgate.core.problem_types import PROBLEMS
from crewgate.issuer.grpc_auth import TokenAuth

MISSING = PROBLEMS["missing-token"]

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
rpc_status = pytest.importorskip("grpc_status.rpc_status", reason="grpcio-status is not installed")
error_details_pb2 = pytest.importorskip("google.rpc.error_details_pb2")


@pytest.fixture
def channel(world: ClientWorld) -> Iterator["grpc.Channel"]:
    credentials = grpc.ssl_channel_credentials(world.ca.read_bytes())
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"127.0.0.1:{world.port}", credentials, options) as channel:
        yield channel


def metadata(world: ClientWorld) -> tuple[tuple[str, str], ...]:
    return bearer(world.token)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


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


def refused(
    channel: "grpc.Channel", token: str, method: str = "/echo.Echo/Unary"
) -> tuple["grpc.StatusCode", str, "error_details_pb2.ErrorInfo"]:
    """Code and message of a call that is refused, and its first detail."""
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(method)(b"hello", metadata=bearer(token), timeout=30)
    return told(raised.value)


def told(
    error: "grpc.RpcError",
) -> tuple["grpc.StatusCode", str, "error_details_pb2.ErrorInfo"]:
    """What grpcio-status makes of an error: it compares code and message with the details'."""
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), error.details(), info


def test_a_call_without_a_token(channel: "grpc.Channel") -> None:
    """UNAUTHENTICATED with its reason, each time: of HTTP's 401 it is UNKNOWN now and then."""
    for _ in range(20):
        code, details, info = refused(channel, "")
        assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "MISSING_TOKEN")
        assert details == f"{MISSING.title}. {MISSING.detail}"
        assert info.metadata["type"] == "https://crewgate.dev/problems/missing-token"


def test_a_method_that_is_no_tool(world: ClientWorld, channel: "grpc.Channel") -> None:
    """UNIMPLEMENTED, as gRPC's own servers say it."""
    code, _, info = refused(channel, world.token, "/other.Service/Unary")
    assert (code, info.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNKNOWN_TOOL")


def test_a_tool_that_is_not_allowed(world: ClientWorld, channel: "grpc.Channel") -> None:
    """PERMISSION_DENIED, and whose it is."""
    code, _, info = refused(channel, world.mint("1", "client.page"))
    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "TOOL_NOT_ALLOWED")
    assert info.metadata["branch"]


def test_credits_that_are_spent(world: ClientWorld, channel: "grpc.Channel") -> None:
    """RESOURCE_EXHAUSTED, with the numbers."""
    code, _, info = refused(channel, world.mint("0.005"))
    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CREDITS_EXHAUSTED")
    assert (info.metadata["quota_credits"], info.metadata["needed_credits"]) == ("0.005", "0.01")


def test_a_stream_whose_branch_is_revoked(world: ClientWorld, channel: "grpc.Channel") -> None:
    """What came is heard, then the reason."""
    token = world.mint("1")
    call = channel.unary_stream("/echo.Echo/Hold")(b"n", metadata=bearer(token), timeout=30)
    assert next(call) == b"n"
    claims = token.split(".")[1]
    branch = json.loads(base64.urlsafe_b64decode(claims + "=="))["execution_branch_id"]
    world.premises.run("revoke", branch)
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    code, details, info = told(raised.value)
    assert (code, info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "BRANCH_REVOKED")
    assert details.startswith("Branch revoked.")
    assert info.metadata["status"] == "401"


def presenting(
    world: ClientWorld, file: Path
) -> tuple[str, "grpc.ChannelCredentials", list[tuple[str, int]]]:
    """What a channel is made of whose calls present a token file."""
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(world.ca.read_bytes()),
        grpc.metadata_call_credentials(TokenAuth(file)),
    )
    return f"127.0.0.1:{world.port}", credentials, [("grpc.enable_http_proxy", 0)]


def test_a_token_file(world: ClientWorld, tmp_path: Path) -> None:
    """Read for every call; without one the call fails with gRPC's own error, and the reason."""
    file = tmp_path / "token"
    file.write_text(world.token)
    with grpc.secure_channel(*presenting(world, file)) as channel:
        call = channel.unary_unary("/echo.Echo/Unary")
        assert call(b"hello", timeout=30) == b"hello"
        file.unlink()
        with pytest.raises(grpc.RpcError) as raised:
            call(b"hello", timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "its branch was revoked" in raised.value.details()


def test_a_token_file_of_an_asynchronous_channel(world: ClientWorld, tmp_path: Path) -> None:
    """The same under asyncio, many at once and streamed; the file is read on gRPC's own threads."""
    file = tmp_path / "token"
    file.write_text(world.token)

    async def run() -> None:
        target, credentials, options = presenting(world, file)
        async with grpc.aio.secure_channel(target, credentials, options) as channel:
            call = channel.unary_unary("/echo.Echo/Unary")
            sent = [b"%d" % number for number in range(10)]
            answers = await asyncio.gather(*[call(each, timeout=30) for each in sent])
            assert answers == sent
            stream = channel.unary_stream("/echo.Echo/Stream")(b"n", timeout=30)
            assert [each async for each in stream] == [b"n0", b"n1", b"n2"]
            file.unlink()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(b"hello", timeout=30)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "its branch was revoked" in raised.value.details()

    asyncio.run(run())
