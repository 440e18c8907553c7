"""One member asks another for what it shows to people: its branches, its health, what is revoked.

    the side that asks:   question
    the other side:       pages of the answer, or a refusal

It knows neither the questions nor the answers, which are bytes to it. Only a member gets an answer.
The TLS handshake proves which member answers, so none answers for another one.
"""

from collections.abc import Awaitable, Callable

import trio

from crewgate import limits
from crewgate.errors import GossipError, ServiceRefusedError
from crewgate.gossip.node import GossipNode
from crewgate.gossip.stream import (
    MemberAnswer,
    MemberQuestion,
    MemberRefusal,
    PeerClosedError,
    SyncStream,
)

VERSION = 1
TakePage = Callable[[bytes], Awaitable[None]]


async def ask(
    gossip: GossipNode, stream: SyncStream, member: bytes, question: bytes, take: TakePage
) -> None:
    """Pass each page of the answer of `member`, and of no other machine, to `take`.

    Raises GossipError and OSError; then the answer is not whole.
    """
    if gossip.membership.recognize(stream.leaf) != member:
        raise GossipError("another gateway answers at its address")
    await stream.send(MemberQuestion(VERSION, question))
    left = limits.member_answer_bytes_max
    try:
        page = await stream.receive_page()
    except PeerClosedError as error:
        raise GossipError(
            "it closed the connection without an answer: it runs an earlier version of Crewgate, "
            "or is too busy"
        ) from error
    while True:
        # An empty page counts too, or else a member could send them for ever.
        left -= max(1, len(page.body))
        if left < 0:
            raise GossipError(f"its answer has more than {limits.member_answer_bytes_max} bytes")
        await take(page.body)
        if page.last:
            return
        page = await stream.receive_page()


async def answer(
    gossip: GossipNode, stream: SyncStream, member: bytes, question: MemberQuestion
) -> None:
    """Answer a member, and refuse others. Raises GossipError and OSError."""
    if member not in gossip.membership.certificates:
        raise GossipError("a gateway that is not a member asks a question")
    # The other side says how long it waits, by the end of the connection; this is for one that is
    # stuck.
    with trio.move_on_after(limits.members_audit_seconds_max):
        try:
            pages = await _pages(gossip, question)
        except ServiceRefusedError as error:
            await stream.send(MemberRefusal(str(error)[: limits.health_text_chars_max]))
            return
        last = len(pages) - 1
        for number, page in enumerate(pages):
            await stream.send(MemberAnswer(page, last=number == last))


async def _pages(gossip: GossipNode, question: MemberQuestion) -> list[bytes]:
    if question.version != VERSION:
        raise ServiceRefusedError(
            f"it answers version {VERSION} of such questions, and this is version "
            f"{question.version}: upgrade all machines"
        )
    if not gossip.member_questions.take(gossip.host.now()):
        raise ServiceRefusedError("members ask it too often; ask again in a second")
    if gossip.on_member_question is None:
        raise ServiceRefusedError("it answers no questions now")
    return list(await gossip.on_member_question(question.body)) or [b""]
