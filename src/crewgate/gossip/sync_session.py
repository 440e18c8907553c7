"""Runs a sync of two members over a stream: each learns who the other is, and gets what it lacks.

    the side that began:   hello, certificates, CRL, digests, held numbers, capsules
    the other side:        hello, certificates, CRL, held numbers, capsules

Only the member with the newer certificate revocation list (CRL) sends it, if the other one wants
it. After the sync, each side has compared with the other as of a time before the other said hello.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress

import msgspec
import trio

from crewgate import limits
from crewgate.core.gossip.interval_set import Range
from crewgate.errors import GossipError
from crewgate.gossip import member_questions
from crewgate.gossip.crl_negotiation import NO_LIST, CRLVersion
from crewgate.gossip.member_admission import PeerEvictedError
from crewgate.gossip.member_verification import KnownMember
from crewgate.gossip.node import GossipNode
from crewgate.gossip.stream import (
    CapsuleBatch,
    CertificateBatch,
    CRLMessage,
    EpochDigests,
    EvictedReply,
    HeldRanges,
    Hello,
    MemberQuestion,
    SelfEvictedError,
    SyncMessage,
    SyncStream,
    TargetExistenceQuery,
    TargetExistenceReply,
    W,
    credential_pages,
    pages,
)
from crewgate.runtime.durable_files import describe
from crewgate.runtime.nursery import open_nursery


async def initiate(gossip: GossipNode, stream: SyncStream, exchange_lock: trio.Lock) -> KnownMember:
    """Run a sync as the side that began it; return the other member.

    Capsules are exchanged with one member at a time (`exchange_lock`). Otherwise a machine that has
    just started would get a million from each member that it syncs with. In turn, it no longer
    lacks those that it got from another member. For the same reason, this skips the exchange if the
    member is exchanging capsules in a sync that it began. Raises GossipError and OSError.
    """
    # The hello has the group keys, so check first who the other side is.
    own = await _hello(gossip, gossip.membership.recognize(stream.leaf))
    asked_at, shown = gossip.host.now(), gossip.membership.me
    try:
        hello = await _exchange_hellos(stream, own)
    except SelfEvictedError:
        gossip.membership.dismissed(gossip.node, stream.leaf, shown)
        raise
    known = gossip.membership.add_member(stream.leaf, hello)
    await _take_marks(gossip, known, hello)
    await _exchange_certificates(gossip, stream, known, hello)
    await _exchange_crl(gossip, stream, known, own.revoked, hello.revoked)
    async with exchange_lock:
        if known.id in gossip.exchanging:
            return known
        archive = gossip.node.archive
        await stream.send(EpochDigests(archive.digests()))
        theirs = (await _receive_soon(stream, HeldRanges)).held
        await stream.send(HeldRanges(archive.held(theirs)))
        await _exchange_capsules(gossip, stream, gossip.node.lacking(theirs))
    gossip.synced(known.id, hello, asked_at)
    return known


async def respond(gossip: GossipNode, stream: SyncStream, asked_at: float) -> None:
    """Run a sync, or answer a question, as the side that was called.

    `asked_at` is a time before the handshake: the other side's hello may have arrived with the end
    of the handshake, and its view is as of this hello. Raises GossipError and OSError.
    """
    try:
        member = gossip.membership.recognize(stream.leaf)
    except PeerEvictedError:
        # If it stayed unread, the end of the connection would discard the notice.
        hello = await stream.receive(Hello)
        # Otherwise the machine has just got another certificate.
        if hello.credential.chain[:1] == (stream.leaf,):
            await stream.send(EvictedReply())
        raise
    first = await stream.receive_first()
    if isinstance(first, TargetExistenceQuery):
        await _answer_seen(gossip, stream, member, first)
        return
    if isinstance(first, MemberQuestion):
        await member_questions.answer(gossip, stream, member, first)
        return
    hello = first
    known = gossip.membership.add_member(stream.leaf, hello)
    own = msgspec.structs.replace(
        await _hello(gossip, known.id), yours=gossip.ledger_marks.of(known.id)
    )
    await _take_marks(gossip, known, hello)
    await stream.send(own)
    await _exchange_certificates(gossip, stream, known, hello)
    await _exchange_crl(gossip, stream, known, own.revoked, hello.revoked)
    digests = (await stream.receive(EpochDigests)).digests
    gossip.exchanging.add(known.id)
    try:
        await stream.send(HeldRanges(gossip.node.archive.differing(digests)))
        theirs: dict[bytes, tuple[Range, ...]] = (await stream.receive(HeldRanges)).held
        await _exchange_capsules(gossip, stream, gossip.node.lacking(theirs))
    finally:
        gossip.exchanging.discard(known.id)
    gossip.synced(known.id, hello, asked_at)


async def ask(
    gossip: GossipNode, stream: SyncStream, member: bytes, question: TargetExistenceQuery
) -> bool:
    """Return the answer of `member`, and of no other machine. Raises GossipError and OSError."""
    if gossip.membership.recognize(stream.leaf) != member:
        raise GossipError("another gateway answers at the address of the member")
    await stream.send(question)
    return (await stream.receive(TargetExistenceReply)).seen


async def _answer_seen(
    gossip: GossipNode, stream: SyncStream, member: bytes, question: TargetExistenceQuery
) -> None:
    """Answer a member. Only a few times a second, since it takes a search through journals."""
    if member not in gossip.membership.certificates:
        raise GossipError("a gateway that is not a member asks whether a name was seen")
    if not gossip.questions.take(gossip.host.now()):
        raise GossipError("members ask too often whether a name was seen")
    seen = None if gossip.on_question is None else await gossip.on_question(question)
    if seen is None:
        raise GossipError("this machine does not know now whether a name was seen")
    await stream.send(TargetExistenceReply(seen))


async def _exchange_hellos(stream: SyncStream, hello: Hello) -> Hello:
    """Send our hello and return the answer; the GossipError says why there may be none."""
    try:
        await stream.send(hello)
        return await stream.receive(Hello)
    except SelfEvictedError:
        raise
    except GossipError as error:
        raise GossipError(
            f"it does not answer the hello ({error}); perhaps this machine's certificate is revoked"
        ) from error


async def _hello(gossip: GossipNode, member: bytes) -> Hello:
    crls = gossip.crls
    crl = await trio.to_thread.run_sync(crls.version, member) if crls is not None else NO_LIST
    hello = gossip.membership.hello(gossip.node)
    marks = {"ledger": gossip.ledger_marks.own, "audit": gossip.kept_checkpoints.own}
    return msgspec.structs.replace(hello, revoked=crl, **marks)


async def _take_marks(gossip: GossipNode, known: KnownMember, hello: Hello) -> None:
    """Keep what the other side says of its ledger and audit, and report its mark of our ledger."""
    gossip.ledger_marks.take(known.id, known.identity.key, hello.ledger)
    own_mark = gossip.ledger_marks.mine(hello.yours)
    if own_mark is not None:
        gossip.on_mark(own_mark)
    gossip.kept_checkpoints.take(known.id, hello.audit, gossip.host.wall())
    members = frozenset(each.id for each in gossip.membership.certificates)
    for kept, what in (
        (gossip.ledger_marks, "the marks of other members' ledgers"),
        (gossip.kept_checkpoints, "the checkpoints of other members' audits"),
    ):
        if not kept.take_turn(gossip.host.now()):
            continue
        try:
            await trio.to_thread.run_sync(kept.flush, members)
        except OSError as error:
            gossip.host.log(f"cannot keep {what}: {describe(error)}")


async def _exchange_crl(
    gossip: GossipNode, stream: SyncStream, known: KnownMember, own: CRLVersion, other: CRLVersion
) -> None:
    """Send the CRL or receive it; both sides know from the hellos which one sends."""
    crls = gossip.crls
    if crls is None:
        return
    if own.is_for(other):
        await stream.send(CRLMessage(await trio.to_thread.run_sync(crls.data)))
    elif other.is_for(own):
        found = await stream.receive(CRLMessage)
        await trio.to_thread.run_sync(crls.take, found.data, known.id)
    if message := crls.take_message():
        gossip.host.log(message)


async def _exchange_certificates(
    gossip: GossipNode, stream: SyncStream, known: KnownMember, hello: Hello
) -> None:
    async def take() -> None:
        is_last = False
        left = limits.gossip_members_max * limits.member_certificates_max
        while not is_last:
            page = await stream.receive(CertificateBatch)
            left -= len(page.credentials)
            if left < 0:
                raise GossipError("the peer sent more certificates than members can have")
            gossip.membership.introduce(page.credentials)
            await trio.lowlevel.checkpoint()
            is_last = page.last

    lacking = gossip.membership.certificates.beyond(hello.roll)
    await _send_and_take(stream, credential_pages(lacking), take)
    gossip.membership.merge(gossip.node, known, hello)
    # This comes before other members can rely on our view.
    gossip.save()


async def _exchange_capsules(
    gossip: GossipNode, stream: SyncStream, lacking: Iterator[bytes]
) -> None:
    """Send and take capsules; there may be a million, so this lets other tasks run."""

    async def take() -> None:
        is_last, left = False, limits.capsules_max
        while not is_last:
            page = await _receive_soon(stream, CapsuleBatch)
            left -= len(page.raws)
            if left < 0:
                raise GossipError("the peer sent more capsules than a member can have")
            for at in range(0, len(page.raws), limits.gossip_step_capsules):
                gossip.take(page.raws[at : at + limits.gossip_step_capsules])
                await trio.lowlevel.checkpoint()
            is_last = page.last

    await _send_and_take(stream, pages(lacking), take)


async def _receive_soon(stream: SyncStream, kind: type[W]) -> W:
    """Return the next message; GossipError if it is late, since other syncs wait for this one."""
    with trio.move_on_after(limits.gossip_silence_seconds):
        return await stream.receive(kind)
    raise GossipError(f"the peer sent nothing for {limits.gossip_silence_seconds:g} s")


async def _send_and_take(
    stream: SyncStream, messages: Iterable[SyncMessage], take: Callable[[], Awaitable[None]]
) -> None:
    """Send and receive at the same time: if both sides only sent, both would wait for ever."""

    async def send() -> None:
        with suppress(GossipError):  # then receiving fails as well
            for each in messages:
                await stream.send(each)

    async with open_nursery() as nursery:
        nursery.start_soon(send)
        await take()
