"""OCSP on a unix socket: HTTP/1.1 for the workers of this machine."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from crewgate import limits
from crewgate.control import ocsp_socket
from crewgate.control.ocsp_socket import OCSPSocketServer
from crewgate.errors import ConfigurationError
from crewgate.ipc.sockets import ProcessCredentials

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


async def echo(request: bytes) -> bytes:
    return b"answer to " + request


@asynccontextmanager
async def door(folder: Path) -> AsyncIterator[Path]:
    """One that answers with what it was asked."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(OCSPSocketServer(folder, echo).serve)
        yield folder / "ocsp.sock"
        nursery.cancel_scope.cancel()


async def read(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while data.count(b"answer to") < count:
        piece = await stream.receive_some()
        if not piece:
            break
        data += piece
    return data


async def test_questions_are_answered_in_turn_on_one_connection(tmp_path: Path) -> None:
    """Sent one after the other or all at once."""
    async with door(tmp_path) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(HEAD % 3 + b"one")
        first = await read(stream, 1)
        assert b"content-type: application/ocsp-response\r\n" in first
        assert first.endswith(b"answer to one")
        await stream.send_all(HEAD % 3 + b"two" + HEAD % 5 + b"three")
        both = await read(stream, 2)
        assert b"answer to two" in both
        assert both.endswith(b"answer to three")


@pytest.mark.parametrize(
    "bytes_",
    [
        b"not http\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000,
        HEAD % (limits.ocsp_request_bytes_max + 1) + b"x" * (limits.ocsp_request_bytes_max + 1),
        HEAD % 3 + b"on",
        b"",
    ],
    ids=["garbage", "long head", "long body", "torn", "nothing"],
)
async def test_a_connection_that_breaks_http_is_closed_and_the_door_stays_open(
    tmp_path: Path, bytes_: bytes
) -> None:
    """Whatever one sends, the next one is served."""
    async with door(tmp_path) as path:
        async with await trio.open_unix_socket(path) as stream:
            try:
                await stream.send_all(bytes_)
                await stream.send_eof()
                assert b"answer" not in await read(stream, 1)
            except trio.BrokenResourceError:
                pass
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(HEAD % 3 + b"one")
            assert (await read(stream, 1)).endswith(b"answer to one")


async def test_only_the_service_s_user_and_group_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger is closed before a byte is read; one of the group is served."""
    group = os.getgid()
    peer = ProcessCredentials(pid=1, uid=12_345, groups=frozenset({54_321}))
    monkeypatch.setattr(ocsp_socket, "peer_of", lambda _: peer)
    async with door(tmp_path) as path:
        async with await trio.open_unix_socket(path) as stream:
            assert await read(stream, 1) == b""
        peer = ProcessCredentials(pid=1, uid=12_345, groups=frozenset({group}))
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(HEAD % 3 + b"one")
            assert (await read(stream, 1)).endswith(b"answer to one")


async def test_strangers_cannot_take_all_the_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them stay for our own workers, however many others there are."""
    most = limits.ocsp_socket_connections_max // 2
    stranger = ProcessCredentials(pid=1, uid=12_345, groups=frozenset({os.getgid()}))
    peer = stranger
    monkeypatch.setattr(ocsp_socket, "peer_of", lambda _: peer)
    streams: list[trio.SocketStream] = []
    async with door(tmp_path) as path:
        for _ in range(most):
            streams.append(await trio.open_unix_socket(path))
            await streams[-1].send_all(HEAD % 3 + b"one")
            await read(streams[-1], 1)
        async with await trio.open_unix_socket(path) as stream:
            assert await read(stream, 1) == b""
        peer = ProcessCredentials(pid=1, uid=os.getuid(), groups=frozenset())
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(HEAD % 3 + b"one")
            assert (await read(stream, 1)).endswith(b"answer to one")
        for each in streams:
            await each.aclose()


async def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    """And what is no socket is not removed."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "ocsp.sock"))
    left.close()
    async with door(tmp_path) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(HEAD % 3 + b"one")
        assert (await read(stream, 1)).endswith(b"answer to one")
    path.unlink()
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="cannot listen"):
        OCSPSocketServer(tmp_path, echo)
    assert path.read_text() == "precious"
