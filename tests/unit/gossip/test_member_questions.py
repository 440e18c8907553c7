"""One member asks another for what it shows to people, over real sockets."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to, listening
from gossip_members import HOST, Authority, Member, until

from crewgate import limits
from crewgate.core.rate_limit import TokenBucket
from crewgate.errors import GossipError, ServiceRefusedError
from crewgate.gossip import member_questions
from crewgate.gossip.member_verification import KnownMember
from crewgate.gossip.stream import (
    Hello,
    MemberAnswer,
    MemberQuestion,
    MemberRefusal,
    SyncStream,
    TargetExistenceQuery,
)

SECONDS = 30.0  # only a hang takes so long


class Two:
    """Members who know each other once they serve; the second answers with its pages."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.authority = authority
        self.first = Member(authority, folder / "m0", "m0", bootstrap=True)
        self.second = Member(authority, folder / "m1", "m1", [self.first.where])
        self.asked: list[bytes] = []
        self.pages: list[bytes] = []
        self.second.gossip.on_member_question = self._answer

    async def _answer(self, question: bytes) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        self.asked.append(question)
        return self.pages

    async def ask(self, seconds: float = SECONDS) -> tuple[str, list[bytes]]:
        """Why the second gave the first no whole answer, and the pages that came."""
        pages: list[bytes] = []

        async def take(page: bytes) -> None:
            await trio.lowlevel.checkpoint()
            pages.append(page)

        me = self.second.gossip.membership.me
        why = await self.first.service.question(me.id, b"question", take, seconds)
        return why, pages


@pytest.fixture
def two(authority: Authority, tmp_path: Path) -> Iterator[Two]:
    """They do not serve yet."""
    made = Two(authority, tmp_path)
    yield made
    for member in (made.first, made.second):
        member.sockets.close()


@pytest.fixture
async def serving(two: Two) -> AsyncIterator[Two]:
    """They serve, and know each other."""
    async with two.first.serving(), two.second.serving():
        await until(lambda: two.first.others == two.second.others == 1)
        yield two


async def test_each_page_arrives_once(serving: Two) -> None:
    """In order; an answer without pages is whole too."""
    serving.pages = [b"one", b"", b"three"]
    assert await serving.ask() == ("", [b"one", b"", b"three"])
    serving.pages = []
    assert await serving.ask() == ("", [b""])
    assert serving.asked == [b"question"] * 2
    assert not serving.first.service._questions


async def test_a_refusal_says_why(serving: Two) -> None:
    """In words of the other side, which do not reach a terminal as they are."""

    async def refuse(_: bytes) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        raise ServiceRefusedError("it does not know\x1b this question")

    serving.second.gossip.on_member_question = refuse
    assert await serving.ask() == (r"it refuses: it does not know\x1b this question", [])
    serving.second.gossip.on_member_question = None
    assert (await serving.ask())[0] == "it refuses: it answers no questions now"
    serving.second.gossip.member_questions = TokenBucket(1e-6, 0)
    assert "members ask it too often" in (await serving.ask())[0]


async def test_another_version_is_named(serving: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that asks is newer, and the other one says which version it answers."""
    real = MemberQuestion
    monkeypatch.setattr(member_questions, "MemberQuestion", lambda _, body: real(2, body))
    why, _ = await serving.ask()
    assert "answers version 1 of such questions, and this is version 2: upgrade" in why
    assert serving.asked == []


async def test_many_at_once_wait_for_one_another(serving: Two) -> None:
    """So a sync always has a stream, and none is refused."""
    serving.pages = [b"x" * limits.member_page_bytes_max] * 3
    answers = []

    async def ask() -> None:
        answers.append(await serving.ask())

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask)
    assert answers == [("", serving.pages)] * 12


async def test_only_a_member_is_answered(two: Two, authority: Authority, tmp_path: Path) -> None:
    """Neither a gateway that has shown nobody where it is, nor an evicted one."""
    files = authority.certify(tmp_path / "new", "new", Ed25519PrivateKey.generate())
    async with two.second.serving():
        async with line_to(two.second.where, files) as line:
            await line.send(MemberQuestion(1, b"question"))
            with pytest.raises(GossipError, match="ended"):
                await line.receive_page()
        first = two.first.gossip.membership.me
        two.second.gossip.membership.introduce([first.credential])
        two.second.gossip.membership.certificates.evict(first.id, first.issued)
        async with line_to(two.second.where, two.first.files) as line:
            await line.send(MemberQuestion(1, b"question"))
            with pytest.raises(GossipError, match="ended"):
                await line.receive_page()
    assert two.asked == []


class Hostile:
    """A member's certificate at work behind a server that talks as a test likes."""

    def __init__(self, two: Two) -> None:
        self.two = two
        self._told = two.first.host.wall()

    async def answers(self, *frames: object, raw: bytes = b"", seconds: float = SECONDS) -> str:
        """Why the first member takes no whole answer of it."""

        async def talk(line: SyncStream) -> None:
            first = await line.receive_first()
            assert isinstance(first, MemberQuestion)
            for frame in frames:
                await line.send(frame)  # type: ignore[arg-type]
            if raw:
                await line._stream.send_all(raw)
            await line._take(1)

        async with listening(self.two.second.files, talk) as where:
            return await self.asked_at(where[1], seconds)

    async def asked_at(self, port: int, seconds: float) -> str:
        """Ask whoever listens there, as if it were the second member."""
        membership = self.two.first.gossip.membership
        me = self.two.second.gossip.membership.me
        shown = me.credential
        moved = type(shown)(shown.chain, shown.host, port)
        self._told += 1  # members believe the newest address only
        known = membership.certificates.admit(
            moved.signed_by(self.two.second.signing.sign, self._told)
        )
        assert isinstance(known, KnownMember)
        return (await self.two.ask(seconds))[0]


async def test_a_hostile_member_costs_one_answer(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow, huge, malformed or out of turn: it is said, and the agent has lost nothing."""
    monkeypatch.setattr(limits, "member_answer_bytes_max", 10)
    hostile = Hostile(two)
    page = MemberAnswer(b"x" * 6, last=False)
    assert await hostile.answers(page, seconds=0.3) == "no answer in time"
    assert await hostile.answers(page, page) == "its answer has more than 10 bytes"
    empty = [MemberAnswer(b"", last=False)] * 12
    assert await hostile.answers(*empty) == "its answer has more than 10 bytes"
    assert "invalid message" in await hostile.answers(raw=b"\0\0\0\4\xff\xff\xff\xff")
    assert "invalid length" in await hostile.answers(raw=b"\xff\xff\xff\xff")
    other = TargetExistenceQuery("branch", "x", "bd")
    assert "TargetExistenceQuery instead of an answer" in await hostile.answers(other)
    large = MemberRefusal("x" * limits.health_text_chars_max)
    assert len(await hostile.answers(large)) < 2 * limits.health_text_chars_max
    assert two.first.host.said == []


async def test_a_machine_of_an_earlier_version_is_named_as_such(two: Two) -> None:
    """It closes the stream, because it does not know the question."""

    async def talk(line: SyncStream) -> None:
        assert isinstance(await line.receive_first(), MemberQuestion)

    async with listening(two.second.files, talk) as where:
        why = await Hostile(two).asked_at(where[1], SECONDS)
    assert "closed the connection without an answer: it runs an earlier version" in why


async def test_a_member_does_not_answer_for_another(
    two: Two, authority: Authority, tmp_path: Path
) -> None:
    """The certificate of the handshake names it, whatever it says."""
    files = authority.certify(tmp_path / "m2", "m2", Ed25519PrivateKey.generate())

    async def talk(line: SyncStream) -> None:
        await line.send(MemberAnswer(b"I am m1", last=True))
        await line.receive(Hello)

    async with listening(files, talk) as where:
        why = await Hostile(two).asked_at(where[1], SECONDS)
    assert why == "another gateway answers at its address"


async def test_a_machine_that_is_down_is_said_at_once(two: Two) -> None:
    """And one of which there is no certificate."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(two.first.serving())
        assert await Hostile(two).asked_at(_closed_port(), SECONDS) == "Connection refused"
        why = await two.first.service.question(bytes(8), b"", _ignore, SECONDS)
    assert "no certificate of it" in why


async def _ignore(_: bytes) -> None:
    raise AssertionError("there is no page")


def _closed_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port
