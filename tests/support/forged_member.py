"""Whoever speaks to members over real sockets as no member does: lines by hand, in both roles."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from gossip_members import HOST, chain_of

from crewgate.errors import GossipError
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.sockets import Where
from crewgate.gossip.stream import SyncStream, context
from crewgate.gossip.transport import TLSFiles


@asynccontextmanager
async def line_to(where: Where, files: TLSFiles) -> AsyncIterator[SyncStream]:
    """A stream to a member, with these certificates."""
    plain = await trio.open_tcp_stream(*where)
    stream = trio.SSLStream(plain, context(*files, is_server=False), https_compatible=True)
    await stream.do_handshake()
    try:
        yield SyncStream(stream)
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def listening(
    files: TLSFiles, talk: Callable[[SyncStream], Awaitable[None]], port: int = 0
) -> AsyncIterator[Where]:
    """A server with these certificates that talks to whoever comes, and no longer than wanted."""

    async def serve(plain: trio.SocketStream) -> None:
        made = context(*files, is_server=True)
        stream = trio.SSLStream(plain, made, server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
            await talk(SyncStream(stream))
        except (trio.BrokenResourceError, GossipError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port, host=HOST)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield HOST, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def unsigned(files: TLSFiles, where: Where) -> SignedMemberRecord:
    """What somebody with these certificates shows, without a word for its address."""
    return SignedMemberRecord(
        chain_of(files.certificate), bytes(10) + b"\xff\xff\x7f\0\0\1", where[1]
    )
