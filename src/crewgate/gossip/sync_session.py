"""One conversation of two members over a stream: who both are, and then what either lacks.

    who began:     hello, certificates, list, digests, held, capsules
    the other:     hello, certificates, list, held, capsules

The member with the newer list of the revoked sends it, if the other wants it.

After it each side has compared with the other as of the moment before the other said hello.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

import msgspec
import trio

from crewgate import limits
from crewgate.core.gossip.ranges import Range
from crewgate.errors import GossipError
from crewgate.gossip.member_certificates import KnownMember
from crewgate.gossip.membership_state import EvictedError
from crewgate.gossip.node import GossipNode
from crewgate.gossip.revocation_lists import CRLVersion
from crewgate.gossip.stream import (
    AskNameSeen,
    CapsuleBatch,
    CertificateBatch,
    CRLMessage,
    EvictionError,
    EvictionNotice,
    HeldRanges,
    Hello,
    LineDigests,
    NameSeen,
    SyncMessage,
    SyncStream,
    W,
    credential_pages,
    pages,
)
from crewgate.runtime.durable_files import describe


async def initiate(gossip: GossipNode, line: SyncStream, turn: trio.Lock) -> KnownMember:
    """Speak first; who that was. GossipError, OSError.

    Capsules are exchanged in `turn`: who has just begun would be handed a million by each member
    that it asks, and those that came by another conversation meanwhile are not lacking any more.
    For the same reason they are not exchanged with one who is at it already, and began that.
    """
    # Before a word: what we say first are the group's keys.
    own = await _hello(gossip, gossip.company.recognise(line.leaf))
    asked_at, shown = gossip.host.now(), gossip.company.me
    try:
        hello = await _greeted(line, own)
    except EvictionError:
        gossip.company.dismissed(gossip.node, line.leaf, shown)
        raise
    known = gossip.company.add_member(line.leaf, hello)
    await _take_marks(gossip, known, hello)
    await _introduce(gossip, line, known, hello)
    await _hand_over(gossip, line, known, own.revoked, hello.revoked)
    async with turn:
        if known.id in gossip.exchanging:
            return known
        archive = gossip.node.archive
        await line.send(LineDigests(archive.digests()))
        theirs = (await _soon(line, HeldRanges)).held
        await line.send(HeldRanges(archive.held(theirs)))
        await _exchange(gossip, line, gossip.node.lacking(theirs))
    gossip.synced(known.id, hello, asked_at)
    return known


async def respond(gossip: GossipNode, line: SyncStream, asked_at: float) -> None:
    """Speak second; GossipError, OSError.

    `asked_at` is before the handshake: the other's hello may have come with the last of it, and who
    the members are is as of that hello.
    """
    try:
        member = gossip.company.recognise(line.leaf)
    except EvictedError:
        hello = await line.receive(Hello)  # unread, it takes our word along as the connection ends
        if hello.credential.chain[:1] == (line.leaf,):  # else it was given another just now
            await line.send(EvictionNotice())
        raise
    first = await line.receive_first()
    if isinstance(first, AskNameSeen):
        await _answer_seen(gossip, line, member, first)
        return
    hello = first
    known = gossip.company.add_member(line.leaf, hello)
    own = msgspec.structs.replace(
        await _hello(gossip, known.id), yours=gossip.ledger_marks.of(known.id)
    )
    await _take_marks(gossip, known, hello)
    await line.send(own)
    await _introduce(gossip, line, known, hello)
    await _hand_over(gossip, line, known, own.revoked, hello.revoked)
    digests = (await line.receive(LineDigests)).digests
    gossip.exchanging.add(known.id)
    try:
        await line.send(HeldRanges(gossip.node.archive.differing(digests)))
        theirs: dict[bytes, tuple[Range, ...]] = (await line.receive(HeldRanges)).held
        await _exchange(gossip, line, gossip.node.lacking(theirs))
    finally:
        gossip.exchanging.discard(known.id)
    gossip.synced(known.id, hello, asked_at)


async def ask(gossip: GossipNode, line: SyncStream, member: bytes, question: AskNameSeen) -> bool:
    """What `member` answers, and nobody else in its place; GossipError, OSError."""
    if gossip.company.recognise(line.leaf) != member:
        raise GossipError("another gateway than the one that is asked")
    await line.send(question)
    return (await line.receive(NameSeen)).seen


async def _answer_seen(
    gossip: GossipNode, line: SyncStream, member: bytes, question: AskNameSeen
) -> None:
    """Answer a member, a few times a second: it takes a look through journals."""
    if member not in gossip.company.directory:
        raise GossipError("a question of a gateway that is no member")
    if not gossip.questions.take(gossip.host.now()):
        raise GossipError("a question too many")
    seen = None if gossip.on_question is None else await gossip.on_question(question)
    if seen is None:
        raise GossipError("a question that cannot be answered now")
    await line.send(NameSeen(seen))


async def _greeted(line: SyncStream, hello: Hello) -> Hello:
    """The answer to our hello; GossipError tells why there may be none."""
    try:
        await line.send(hello)
        return await line.receive(Hello)
    except EvictionError:
        raise
    except GossipError as error:
        raise GossipError(
            f"it says no hello ({error}), as to a machine whose certificate is revoked"
        ) from error


async def _hello(gossip: GossipNode, member: bytes) -> Hello:
    """What we say first."""
    mark = await trio.to_thread.run_sync(gossip.crls.version, member)
    hello = gossip.company.hello(gossip.node)
    return msgspec.structs.replace(hello, revoked=mark, ledger=gossip.ledger_marks.own)


async def _take_marks(gossip: GossipNode, known: KnownMember, hello: Hello) -> None:
    """Keep the other's word on its ledger, and hear what it has kept of ours."""
    gossip.ledger_marks.take(known.id, known.identity.key, hello.ledger)
    mine = gossip.ledger_marks.mine(hello.yours)
    if mine is not None:
        gossip.on_mark(mine)
    if not gossip.ledger_marks.take_turn(gossip.host.now()):
        return
    members = frozenset(each.id for each in gossip.company.directory)
    try:
        await trio.to_thread.run_sync(gossip.ledger_marks.flush, members)
    except OSError as error:
        gossip.host.log(f"what the others say of their ledgers is not kept: {describe(error)}")


async def _hand_over(
    gossip: GossipNode, line: SyncStream, known: KnownMember, own: CRLVersion, other: CRLVersion
) -> None:
    """The newer list of the revoked, to who has an older one: each of both knows who speaks."""
    if own.is_for(other):
        await line.send(CRLMessage(await trio.to_thread.run_sync(gossip.crls.data)))
    elif other.is_for(own):
        found = await line.receive(CRLMessage)
        await trio.to_thread.run_sync(gossip.crls.take, found.data, known.id)
    if news := gossip.crls.take_message():
        gossip.host.log(news)


async def _introduce(
    gossip: GossipNode, line: SyncStream, known: KnownMember, hello: Hello
) -> None:
    """Give the certificates that the other has not got, and take those that we have not."""

    async def take() -> None:
        is_last = False
        left = limits.gossip_members_max * limits.member_certificates_max
        while not is_last:
            page = await line.receive(CertificateBatch)
            left -= len(page.credentials)
            if left < 0:
                raise GossipError("more certificates than there are members")
            gossip.company.introduce(page.credentials)
            await trio.lowlevel.checkpoint()
            is_last = page.last

    lacking = gossip.company.directory.beyond(hello.roll)
    await _both(line, credential_pages(lacking), take)
    gossip.company.merge(gossip.node, known, hello)
    gossip.save()  # before others count on it that we think so


async def _exchange(gossip: GossipNode, line: SyncStream, lacking: Iterator[bytes]) -> None:
    """The same with capsules, which may be a million: in steps, so that all else goes on."""

    async def take() -> None:
        is_last, left = False, limits.capsules_max
        while not is_last:
            page = await _soon(line, CapsuleBatch)
            left -= len(page.raws)
            if left < 0:
                raise GossipError("more capsules than there are")
            for at in range(0, len(page.raws), limits.gossip_step_capsules):
                gossip.take(page.raws[at : at + limits.gossip_step_capsules])
                await trio.lowlevel.checkpoint()
            is_last = page.last

    await _both(line, _frames(lacking), take)


def _frames(lacking: Iterator[bytes]) -> Iterator[CapsuleBatch]:
    """Each is read out of the archive when the one before it has left."""
    while some := list(islice(lacking, limits.gossip_frame_capsules)):
        for page in pages(some):
            yield CapsuleBatch(page.raws, last=False)
    yield CapsuleBatch([], last=True)


async def _soon(line: SyncStream, kind: type[W]) -> W:
    """What is heard in a turn, for which others wait; GossipError where nothing is."""
    with trio.move_on_after(limits.gossip_silence_seconds):
        return await line.receive(kind)
    raise GossipError("no word in time")


async def _both(
    line: SyncStream, words: Iterable[SyncMessage], take: Callable[[], Awaitable[None]]
) -> None:
    """Say and hear at once: two who only spoke would wait for one another for ever."""
    failure: Exception | None = None

    async def send() -> None:
        with suppress(GossipError):  # whoever cannot be told says no more either
            for each in words:
                await line.send(each)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            await take()
        except (GossipError, OSError) as error:  # as it is, and not in a nursery's group
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
