"""What goes wrong round a member that serves: it goes on, and says so once."""

import math
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to, listening
from gossip_members import HOST, Authority, Member, chain_of, free_sockets, until
from socketless_members import StillMember

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.gossip import transport
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.sockets import Where
from crewgate.gossip.stream import Hello, SyncStream


async def never(line: SyncStream) -> None:
    """Neither say nor hear."""
    await trio.sleep_forever()


@pytest.fixture
def lone(authority: Authority, tmp_path: Path) -> Member:
    """One without peers."""
    return Member(authority, tmp_path / "m0", "m0", bootstrap=True)


def free_port() -> Where:
    """Where nobody listens."""
    sockets = free_sockets()
    port = sockets.streams.getsockname()[1]
    sockets.close()
    return HOST, port


async def test_a_peer_that_never_was_there_is_said_once(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two, each; however often they are tried."""
    monkeypatch.setattr(limits, "join_seconds", 0.01)
    tried = list[Where]()
    reach = transport.GossipTransport._reach

    async def counting(self: transport.GossipTransport, where: Where) -> None:
        tried.append(where)
        await reach(self, where)

    monkeypatch.setattr(transport.GossipTransport, "_reach", counting)
    peers = [free_port(), free_port(), ("nobody..", 1)]
    one = Member(authority, tmp_path / "m0", "m0", peers, bootstrap=True)
    async with one.serving():
        await until(lambda: len(tried) > 10)
    assert len(one.host.said) == 3
    for (host, port), said in zip(peers, one.host.said, strict=True):
        assert said.startswith(f"peer {host}:{port}: ")
    assert "its name has no address" in one.host.said[2]
    assert one.is_fresh


async def test_a_name_of_several_addresses_is_there_if_one_is(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refuses, one is this machine, one is a member: nobody hears a complaint."""
    there, asked = list[Where](), list[str]()

    async def resolve(host: str, port: int) -> Sequence[Where]:
        asked.append(host)
        return there

    monkeypatch.setattr(transport, "resolve", resolve)
    monkeypatch.setattr(limits, "join_seconds_max", 0.01)
    one = Member(authority, tmp_path / "m1", "m1", [("name", 1)])
    there += [free_port(), one.where, lone.where]
    async with lone.serving(), one.serving():
        await until(lambda: one.is_fresh and lone.others == 1)
        asked.clear()
        await until(lambda: len(asked) > 3)
    assert one.host.said == []


async def test_a_name_that_is_this_machine_is_no_complaint(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another address than the one that it tells; it is no member of its own."""
    shaken = list[str]()
    shake = transport._handshake

    async def counting(stream: "trio.SSLStream[trio.SocketStream]") -> None:
        await shake(stream)
        shaken.append("")

    monkeypatch.setattr(transport, "_handshake", counting)
    monkeypatch.setattr(limits, "join_seconds", 0.01)
    port = free_port()[1]
    one = Member(authority, tmp_path / "m0", "m0", [("127.0.0.2", port)], bootstrap=True)
    one.sockets.close()
    one.service._sockets = transport.GossipSockets("0.0.0.0", port)
    async with one.serving():
        await until(lambda: len(shaken) > 10)
    assert one.host.said == []
    assert one.others == 0


async def test_a_fault_of_ours_ends_no_agent(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either side of a stream, alone or in a group: it is said, and the rest goes on."""

    async def failing(*_: object) -> None:
        raise ExceptionGroup("two", [RuntimeError("one"), ValueError("other")])

    monkeypatch.setattr("crewgate.gossip.sync_session.initiate", failing)
    one = Member(authority, tmp_path / "m1", "m1", [lone.where])
    async with lone.serving(), one.serving():
        await until(lambda: bool(one.host.said))
        monkeypatch.setattr("crewgate.gossip.sync_session.respond", failing)
        async with line_to(lone.where, one.files) as line:
            with pytest.raises(GossipError):
                await line.receive(Hello)
        await until(lambda: bool(lone.host.said))
        one.gossip.membership.introduce([lone.gossip.membership.me.credential])
        one.gossip.membership.add_members(one.gossip.node)
        one.gossip.sync_soon([lone.gossip.membership.me.id])
        await until(lambda: not one.gossip.to_sync)
        assert len(one.service._busy) == 1
    assert all("internal error" in each for each in one.host.said + lone.host.said)
    assert one.service._syncs.borrowed_tokens == 0
    assert one.service._busy == set()


async def test_who_connects_and_says_nothing_holds_up_nobody(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free again soon, and there are some for others meanwhile."""
    monkeypatch.setattr(lone.service._handshakes, "_each_max", 5)
    async with lone.serving(), AsyncExitStack() as stack:
        streams = []
        for _ in range(9):
            plain = await trio.open_tcp_stream(*lone.where)
            streams.append(await stack.enter_async_context(plain))
        assert [await stream.receive_some(1) for stream in streams[5:]] == [b""] * 4
        assert lone.service._handshakes._open.total() == 5
        assert not lone.service._conversations._open
        for stream in streams:
            await stream.aclose()
        one = Member(authority, tmp_path / "m1", "m1", [lone.where])
        async with one.serving():
            await until(lambda: one.is_fresh)


async def test_a_handshake_has_an_end(lone: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, or not at all."""
    monkeypatch.setattr(limits, "gossip_hello_seconds", 0.05)
    async with lone.serving(), await trio.open_tcp_stream(*lone.where) as stream:
        await stream.send_all(b"\x16\x03\x01")
        assert await stream.receive_some(1) == b""
        await until(lambda: not lone.service._handshakes._open)


async def test_a_conversation_has_an_end(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never hears what it is told, with a member's certificate, twice at most at once."""
    monkeypatch.setattr(limits, "gossip_sync_seconds", 0.5)
    monkeypatch.setattr(lone.service._conversations, "_each_max", 2)
    idle = StillMember(authority, tmp_path / "idle", "idle")
    async with lone.serving(), AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(line_to(lone.where, idle.files)) for _ in range(3)]
        await lines[0].send(idle.membership.hello(idle.node))
        with pytest.raises(GossipError):
            await lines[2].receive(Hello)
        await until(lambda: not lone.service._conversations._open)
    assert lone.host.said == []


async def test_a_peer_that_never_answers_is_given_up(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one is reached, if not at once where the machine is busy."""
    monkeypatch.setattr(limits, "gossip_sync_seconds", 0.2)
    idle = authority.certify(tmp_path / "idle", "idle", Ed25519PrivateKey.generate())
    async with AsyncExitStack() as stack:
        where = await stack.enter_async_context(listening(idle, never))
        one = Member(authority, tmp_path / "m1", "m1", [where, lone.where])
        await stack.enter_async_context(lone.serving())
        await stack.enter_async_context(one.serving())
        await until(lambda: one.is_fresh)
    late = f"peer {HOST}:{lone.where[1]}: no answer in time"
    said = [line for line in one.host.said if line != late]
    assert said == [f"peer {HOST}:{where[1]}: no answer in time"]


async def test_what_a_disk_refused_is_acknowledged_once_it_is_written_anew(
    lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sync alone would have nothing of it left to write. A person hears of it once."""
    refusals = 2

    def refusing(_: int) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refusing)
    async with lone.serving():
        receipts = []
        for number in range(3):
            ids = lone.gossip.revoke([lone.entry(bytes((number,)) * 16)])
            receipts.append(lone.gossip.node.receipts.begin(ids, lone.host.now()))
            left = max(0, 1 - number)
            await until(lambda: refusals <= left)  # noqa: B023 -- it is awaited here
        await until(lambda: all(each.is_kept_here for each in receipts))
        await until(lambda: not lone.gossip.log.incomplete)
    refused, mended = lone.host.said
    assert "Input/output error; the disk has failed" in refused
    assert refused.endswith("revocations are in force, but not on this disk")
    assert mended.endswith("all revocations are on this disk again")


async def test_files_are_renewed_while_it_serves(
    authority: Authority, tmp_path: Path, lone: Member
) -> None:
    """Until it is told it shows what it did before; then the new one, to old and new peers."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lone.serving())
        one = Member(authority, tmp_path / "m1", "m1", [lone.where])
        await stack.enter_async_context(one.serving())
        await until(lambda: one.is_fresh)
        old = lone.gossip.membership.me.credential
        authority.certify(tmp_path / "m0", "m0", lone.signing, born=30)
        two = Member(authority, tmp_path / "m2", "m2", [lone.where])
        await stack.enter_async_context(two.serving())
        await until(lambda: two.is_fresh)
        new = chain_of(lone.files.certificate)
        lone.gossip.renew(SignedMemberRecord(new, old.host, old.port))
        three = Member(authority, tmp_path / "m3", "m3", [lone.where])
        await stack.enter_async_context(three.serving())
        await until(lambda: three.is_fresh)
        got = three.gossip.membership.certificates.get(lone.gossip.membership.me.id)
        assert got is not None
        assert got.credential.chain == new != old.chain
    for each in (lone, one, two, three):
        assert each.host.said == []


async def test_files_that_are_gone_are_said(authority: Authority, tmp_path: Path) -> None:
    """By the side that begins; the other refuses what comes, and lives."""
    one = Member(authority, tmp_path / "m0", "m0", [free_port()], bootstrap=True)
    one.files.key.unlink()
    async with one.serving():
        await until(lambda: bool(one.host.said))
        async with await trio.open_tcp_stream(*one.where) as stream:
            assert await stream.receive_some(1) == b""
    assert "No such file" in one.host.said[0]


async def test_what_is_asked_for_during_a_sync_comes_after_it(
    authority: Authority, tmp_path: Path, lone: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who is told of a key during one would hear of it ten seconds later."""
    reached = list[Where]()

    async def reach(self: transport.GossipTransport, where: Where) -> None:
        reached.append(where)
        if len(reached) == 1:
            self.gossip.sync_soon([one.gossip.membership.me.id])

    one = Member(authority, tmp_path / "m1", "m1")
    one.sockets.close()
    monkeypatch.setattr(transport.GossipTransport, "_reach", reach)
    lone.gossip.membership.introduce([one.gossip.membership.me.credential])
    lone.gossip.membership.add_members(lone.gossip.node)
    lone.gossip.sync_soon([one.gossip.membership.me.id])
    lone.gossip.node._next_sync = math.inf  # or one of all would be synced with soon in any case
    async with lone.serving():
        await until(lambda: len(reached) == 2)
    assert reached == [one.where] * 2


async def test_a_kill_loses_nothing_and_an_empty_folder_begins_anew(
    authority: Authority, tmp_path: Path, lone: Member
) -> None:
    """With its folder it counts at once; without, once it has asked; it has all in either case."""
    entry, folder = lone.entry(bytes(16)), tmp_path / "m1"

    async def live(one: Member) -> None:
        async with one.serving():
            await until(lambda: one.is_fresh and entry.key in one.host.applied)
            await until(lambda: one.gossip.node.freshness.counts)

    async with lone.serving():
        lone.gossip.revoke([entry])
        await live(Member(authority, folder, "m1", [lone.where]))
        again = Member(authority, folder, "m1", [lone.where], born=1)
        assert again.gossip.node.freshness.counts
        assert entry.key in again.host.applied
        await live(again)
        for path in (folder / "gossip").iterdir():
            path.unlink()
        empty = Member(authority, folder, "m1", [lone.where], born=2)
        assert not empty.gossip.node.freshness.counts
        await live(empty)


async def test_who_was_evicted_is_out_until_it_has_another_certificate(
    authority: Authority, tmp_path: Path, lone: Member
) -> None:
    """Over real sockets, from both sides."""
    one = Member(authority, tmp_path / "m1", "m1", [lone.where])
    async with lone.serving():
        async with one.serving():
            await until(lambda: one.is_fresh and lone.others == 1)
            lone.gossip.drop(one.gossip.membership.me.id)
            assert lone.others == 0
            number = lone.gossip.membership.keys.number
            one.gossip.sync_soon([lone.gossip.membership.me.id])
            await until(lambda: not one.gossip.to_sync and not one.service._busy)
            assert one.gossip.membership.keys.get(number) is None
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(10):
                    sealed = one.gossip._encryptor.seal(
                        lone.gossip.membership.me.id, b"\3" + bytes(20)
                    )
                    sender.sendto(sealed, lone.where)
        again = Member(authority, tmp_path / "m1", "m1", [lone.where], born=30)
        async with again.serving():
            await until(lambda: again.is_fresh and lone.others == 1)
