"""Two over a stream: what each tells the other, and what becomes of one who does not keep to it."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to, listening
from gossip_members import Authority, Member, until
from socketless_members import StillMember, acquaint

from crewgate import limits
from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.core.ids import EntityKind, orchestrator_key
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import GossipError
from crewgate.gossip import transport
from crewgate.gossip.quorum_view_file import QuorumViewFile
from crewgate.gossip.stream import (
    CapsuleBatch,
    CertificateBatch,
    EpochDigests,
    EvictedReply,
    HeldRanges,
    Hello,
    PeerClosedError,
    SelfEvictedError,
    SyncStream,
)
from crewgate.gossip.sync_session import initiate
from crewgate.gossip.transport import TLSFiles

Talk = Callable[[SyncStream], Awaitable[None]]


@pytest.fixture
def liar(authority: Authority, tmp_path: Path) -> StillMember:
    """One with a gateway's certificate of this CA, which may not revoke."""
    return StillMember(authority, tmp_path / "liar", "liar", rights=(), bootstrap=True)


@pytest.fixture
def member(authority: Authority, tmp_path: Path) -> Member:
    """One who serves by itself."""
    return Member(authority, tmp_path / "m0", "m0", bootstrap=True)


def hello_of(one: StillMember) -> Hello:
    return one.membership.hello(one.node)


async def test_who_speaks_as_a_member_is_one(member: Member, liar: StillMember) -> None:
    """Step by step, from the side that begins."""
    async with member.serving(), line_to(member.where, liar.files) as line:
        await line.send(hello_of(liar))
        hello = await line.receive(Hello)
        assert hello.credential == member.gossip.membership.me.credential
        await line.send(CertificateBatch([], last=True))
        assert (await line.receive(CertificateBatch)).last
        await line.send(EpochDigests({}))
        assert (await line.receive(HeldRanges)).held == {}
        await line.send(HeldRanges({}), CapsuleBatch([], last=True))
        assert await line.receive(CapsuleBatch) == CapsuleBatch([], last=True)
        await until(lambda: member.others == 1)


async def test_whose_hello_has_waited_is_compared_with_as_of_before_it(
    member: Member, liar: StillMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes with the last of the handshake; who a member is may have changed since it was said.

    As of later, this machine would admit without what others have acknowledged meanwhile.
    """
    shake, said, asked = transport._handshake, trio.Event(), list[float]()

    async def stalled(stream: "trio.SSLStream[trio.SocketStream]") -> None:
        await shake(stream)
        await said.wait()

    monkeypatch.setattr(transport, "_handshake", stalled)
    monkeypatch.setattr(
        member.gossip, "synced", lambda _member, _hello, asked_at: asked.append(asked_at)
    )
    async with member.serving(), line_to(member.where, liar.files) as line:
        said_at = member.host.now()
        await line.send(hello_of(liar), CertificateBatch([], last=True), EpochDigests({}))
        said.set()
        await line.receive(Hello)
        await line.receive(CertificateBatch)
        await line.receive(HeldRanges)
        await line.send(HeldRanges({}), CapsuleBatch([], last=True))
        await until(lambda: bool(asked))
    assert asked[0] <= said_at


async def test_who_the_members_are_is_on_the_disk_before_others_can_count_on_it(
    member: Member, liar: StillMember, tmp_path: Path
) -> None:
    """A restart that knew less would take itself for a majority that it is not any more."""
    async with member.serving(), line_to(member.where, liar.files) as line:
        await line.send(hello_of(liar))
        await line.receive(Hello)
        await line.send(CertificateBatch([], last=True), EpochDigests({}))
        await line.receive(CertificateBatch)
        await line.receive(HeldRanges)
        again = QuorumFreshness(member.gossip.membership.me.id)
        QuorumViewFile(tmp_path / "m0" / "gossip" / "standing").restore(again)
        assert again.others == (liar.id,)
        assert liar.id in again.counted


async def garbage(line: SyncStream) -> None:
    await line._stream.send_all(b"\0\0\0\4abcd")


async def huge(line: SyncStream) -> None:
    await line._stream.send_all(b"\xff\xff\xff\xff")


async def empty(line: SyncStream) -> None:
    await line._stream.send_all(bytes(4))


async def out_of_turn(line: SyncStream) -> None:
    await line.send(EpochDigests({}))


@pytest.mark.parametrize("talk", [garbage, huge, empty, out_of_turn])
async def test_what_says_nothing_ends_its_own_stream(
    member: Member, liar: StillMember, talk: Talk
) -> None:
    """And nobody has come."""
    async with member.serving(), line_to(member.where, liar.files) as line:
        await talk(line)
        with pytest.raises(GossipError, match="has ended"):
            await line.receive(Hello)
    assert member.others == 0
    assert member.host.said == []


@pytest.mark.parametrize(
    "changes",
    [
        {"head": -1},
        {"head": 2**63},
        {"life": b"short"},
        {"members": b""},
    ],
    ids=["negative", "huge", "life", "members"],
)
async def test_a_word_that_nobody_can_ask_about_is_none(
    member: Member, liar: StillMember, changes: dict[str, object]
) -> None:
    """It would be asked for what came after it, which has no bytes."""
    hello = hello_of(liar)
    hello = msgspec.structs.replace(hello, word=msgspec.structs.replace(hello.word, **changes))
    async with member.serving(), line_to(member.where, liar.files) as line:
        await line.send(hello)
        with pytest.raises(GossipError, match="has ended"):
            await line.receive(Hello)
        assert member.others == 0


async def test_certificates_come_in_bounded_number(
    member: Member, liar: StillMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For ever the same page, and no end of it."""
    monkeypatch.setattr(limits, "gossip_members_max", 4)
    page = CertificateBatch([liar.membership.me.credential] * 8, last=False)
    async with member.serving(), line_to(member.where, liar.files) as line:
        await line.send(hello_of(liar))
        await line.receive(Hello)
        await line.receive(CertificateBatch)
        with pytest.raises(GossipError, match="has ended"):
            await say_and_hear(line, *[page] * 9)


async def say_and_hear(line: SyncStream, *pages: CertificateBatch) -> None:
    await line.send(*pages)
    await line.receive(HeldRanges)


def certificate_of(
    kind: str, authority: Authority, tmp_path: Path, signing: Ed25519PrivateKey
) -> TLSFiles:
    """Somebody's who may not speak."""
    if kind == "orchestrator":
        return authority.certify(tmp_path / "x", "m1", signing, role=Role.ORCHESTRATOR)
    if kind == "operator":
        return authority.certify(tmp_path / "x", "m1", signing, role=Role.OPERATOR)
    if kind == "expired":
        return authority.certify(tmp_path / "x", "m1", signing, born=-90_000)
    (tmp_path / "other").mkdir()
    files = Authority(tmp_path / "other").certify(tmp_path / "x", "m1", signing)
    return files._replace(root=authority.file)


STRANGERS = ["orchestrator", "operator", "expired", "another CA"]


@pytest.mark.parametrize("kind", STRANGERS)
async def test_others_who_come_hear_nothing(
    authority: Authority, tmp_path: Path, member: Member, kind: str
) -> None:
    """Not one frame: the stream ends."""
    files = certificate_of(kind, authority, tmp_path, Ed25519PrivateKey.generate())
    async with member.serving(), line_to(member.where, files) as line:
        with pytest.raises(GossipError, match="ended"):
            await line.receive(Hello)
    assert member.others == 0


@pytest.mark.parametrize("kind", STRANGERS)
async def test_others_who_are_called_hear_nothing(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    """What a member says first are its keys: it says nothing before it knows to whom."""
    files = certificate_of(kind, authority, tmp_path, Ed25519PrivateKey.generate())
    heard = list[Hello]()

    async def talk(line: SyncStream) -> None:
        heard.append(await line.receive(Hello))

    async with listening(files, talk) as where:
        one = Member(authority, tmp_path / "m0", "m0", [where], bootstrap=True)
        async with one.serving():
            await until(lambda: bool(one.host.said))
    assert heard == []


async def test_a_member_that_was_evicted_is_not_told_the_next_key(
    authority: Authority, tmp_path: Path, liar: StillMember
) -> None:
    """Though it is still among the configured peers, and its certificate is still good."""
    heard = list[Hello]()

    async def talk(line: SyncStream) -> None:
        heard.append(await line.receive(Hello))

    async with AsyncExitStack() as stack:
        where = await stack.enter_async_context(listening(liar.files, talk))
        one = Member(authority, tmp_path / "m0", "m0", [where], bootstrap=True)
        one.gossip.membership.introduce([liar.membership.me.credential])
        one.gossip.membership.add_members(one.gossip.node)
        key = orchestrator_key("", "gateway/liar")
        one.gossip.revoke([one.entry(key, kind=EntityKind.ORCHESTRATOR)])
        await stack.enter_async_context(one.serving())
        await until(lambda: any("was evicted" in each for each in one.host.said))
    assert heard == []


async def test_who_was_evicted_hears_that_and_nothing_else(
    authority: Authority, tmp_path: Path
) -> None:
    """By a stream that it begins; from then on it knows, and says so."""
    one = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    out = Member(authority, tmp_path / "m1", "m1", [one.where])
    one.gossip.membership.introduce([out.gossip.membership.me.credential])
    one.gossip.membership.add_members(one.gossip.node)
    key = orchestrator_key("", "gateway/m1")
    one.gossip.revoke([one.entry(key, kind=EntityKind.ORCHESTRATOR)])
    async with one.serving(), out.serving():
        await until(lambda: out.gossip.membership.is_evicted)
        assert out.host.said[0].startswith("this machine was evicted; to rejoin, it needs a")
        await until(lambda: len(out.host.said) == 2)
    assert out.host.said[1].endswith("it says that this machine was evicted")
    assert out.others == 0
    assert not out.gossip.membership.keys.number


async def test_what_is_said_of_the_certificate_before_sends_no_later_one_away(
    authority: Authority, tmp_path: Path
) -> None:
    """A machine that was evicted calls all the time: one may be on its way."""
    one = StillMember(authority, tmp_path / "m0", "m0")
    other = StillMember(authority, tmp_path / "m1", "m1", bootstrap=True)
    again = StillMember(authority, tmp_path / "again", "m0", born=5, signing=one.signing)

    async def talk(line: SyncStream) -> None:
        await line.receive(Hello)
        one.gossip.renew(again.membership.me.credential)
        await line.send(EvictedReply())

    async with listening(other.files, talk) as where, line_to(where, one.files) as line:
        with pytest.raises(SelfEvictedError):
            await initiate(one.gossip, line, trio.Lock())
    assert one.leaf == again.leaf
    assert not one.membership.is_evicted


async def test_who_shows_another_certificate_in_its_hello_is_not_dismissed(
    authority: Authority, tmp_path: Path
) -> None:
    """It would take that for the one that was evicted."""
    one = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    out = StillMember(authority, tmp_path / "m1", "m1")
    again = StillMember(authority, tmp_path / "again", "m1", born=5, signing=out.signing)
    one.gossip.membership.introduce([out.membership.me.credential])
    one.gossip.membership.evict(one.gossip.node, out.id, out.membership.me.issued)
    async with one.serving():
        for hello, error in ((hello_of(again), "has ended"), (hello_of(out), "was evicted")):
            async with line_to(one.where, out.files) as line:
                await line.send(hello)
                with pytest.raises(GossipError, match=error):
                    await line.receive(Hello)


async def test_a_conversation_ends_with_both_knowing_all(
    authority: Authority, tmp_path: Path
) -> None:
    """What each had before: members, and capsules."""
    one = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    entries = [one.entry(bytes((n,)) * 16) for n in range(100)]
    one.gossip.revoke(entries[:50])
    other = Member(authority, tmp_path / "m1", "m1", [one.where])
    other.gossip.revoke(entries[50:])
    async with one.serving(), other.serving():
        with trio.fail_after(10):
            await until(lambda: len(other.host.applied) == 50 == len(one.host.applied))
            await until(lambda: other.is_fresh and one.is_fresh)


def test_acquainted_members_agree(authority: Authority, tmp_path: Path, liar: StillMember) -> None:
    """On who the members are, as their words say."""
    other = StillMember(authority, tmp_path / "m1", "m1")
    acquaint(liar, other)
    assert liar.node.freshness.others == (other.id,)
    assert other.node.freshness.others == (liar.id,)


async def test_one_that_falls_silent_in_its_turn_keeps_nobody_waiting(
    authority: Authority, tmp_path: Path, liar: StillMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream ends, and the next one has its turn: capsules come from somebody else."""
    monkeypatch.setattr(limits, "gossip_silence_seconds", 0.2)
    silent = trio.Event()

    async def talk(line: SyncStream) -> None:
        await line.receive(Hello)
        await line.send(hello_of(liar), CertificateBatch([], last=True))
        await line.receive(CertificateBatch)
        await line.receive(EpochDigests)
        silent.set()
        await trio.sleep_forever()

    other = Member(authority, tmp_path / "m1", "m1", bootstrap=True)
    entry = other.entry(bytes(15) + b"1")
    other.gossip.revoke([entry])
    async with listening(liar.files, talk) as where:
        one = Member(authority, tmp_path / "m0", "m0", [where, other.where], bootstrap=True)
        async with one.serving():
            await silent.wait()
            async with other.serving():
                await until(lambda: entry.key in one.host.applied)


async def test_what_is_being_exchanged_with_one_is_not_exchanged_twice(
    member: Member, liar: StillMember
) -> None:
    """A machine that has just begun would be handed all of it by each side's conversation."""
    exchanging = member.gossip.exchanging
    heard = list[type]()

    async def talk(line: SyncStream) -> None:
        await line.receive(Hello)
        await line.send(hello_of(liar), CertificateBatch([], last=True))
        await line.receive(CertificateBatch)
        try:
            heard.append(type(await line.receive(EpochDigests)))
        except PeerClosedError as error:
            heard.append(type(error))
        await line.send(HeldRanges({}), CapsuleBatch([], last=True))

    async with listening(liar.files, talk) as where, member.serving():
        async with line_to(member.where, liar.files) as line:
            await line.send(hello_of(liar), CertificateBatch([], last=True))
            await line.receive(Hello)
            await line.receive(CertificateBatch)
            assert exchanging == set()
            await line.send(EpochDigests({}))
            await line.receive(HeldRanges)
            assert exchanging == {liar.id}
            async with line_to(where, member.files) as another:
                await initiate(member.gossip, another, trio.Lock())
            await until(lambda: heard == [PeerClosedError])
        await until(lambda: exchanging == set())
        async with line_to(where, member.files) as another:
            await initiate(member.gossip, another, trio.Lock())
        assert heard == [PeerClosedError, EpochDigests]
