"""One member asks the others whether they have ever seen a name, over real sockets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to
from gossip_members import Authority, Member, until

from crewgate.core.rate_limit import TokenBucket
from crewgate.errors import GossipError
from crewgate.gossip.stream import Hello, TargetExistenceQuery, TargetExistenceReply

QUESTION = TargetExistenceQuery("branch", "0199c1d2-0000-7000-8000-000000000003", "bd")


class Three:
    """Members who answer as `says` has it: None for not at all."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        first = Member(authority, folder / "m0", "m0", bootstrap=True)
        more = [Member(authority, folder / f"m{n}", f"m{n}", [first.where]) for n in (1, 2)]
        self.members = [first, *more]
        self.asked: list[str] = []

    def answer(self, *says: bool | None) -> None:
        for member, said in zip(self.members[1:], says, strict=True):
            member.gossip.on_question = self._answer(member, said)

    def _answer(
        self, member: Member, said: bool | None
    ) -> Callable[[TargetExistenceQuery], object]:
        async def answer(question: TargetExistenceQuery) -> bool | None:
            assert question == QUESTION
            self.asked.append(member.gossip.membership.me.name)
            await trio.lowlevel.checkpoint()
            return said

        return answer


@pytest.fixture
def three(authority: Authority, tmp_path: Path) -> Iterator[Three]:
    """They know each other once they serve."""
    made = Three(authority, tmp_path)
    yield made
    for member in made.members:  # also those that did not serve
        member.sockets.close()


async def test_each_member_answers_once(three: Three) -> None:
    """One that cannot say, or does not know the word, is not among the answers."""
    first, second, third = three.members
    async with first.serving(), second.serving(), third.serving():
        await until(lambda: first.others == 2)
        assert await first.service.ask(QUESTION) == []  # nobody has anything to answer with
        three.answer(False, None)
        assert await first.service.ask(QUESTION) == [False]
        three.answer(False, False)
        assert await first.service.ask(QUESTION) == [False, False]
        three.answer(True, True)
        assert True in await first.service.ask(QUESTION)


async def test_more_than_a_few_questions_are_not_answered(three: Three) -> None:
    """Each takes a look through journals."""
    first, second, _ = three.members
    second.gossip.questions = TokenBucket(1e-6, 1)
    async with first.serving(), second.serving():
        await until(lambda: first.others == 1)
        three.answer(False, False)
        assert await first.service.ask(QUESTION) == [False]
        assert await first.service.ask(QUESTION) == []


async def test_only_a_member_is_answered(
    three: Three, authority: Authority, tmp_path: Path
) -> None:
    """A gateway of this CA that has shown nobody where it is, is none yet."""
    first = three.members[0]
    first.gossip.on_question = three._answer(first, False)
    files = authority.certify(tmp_path / "new", "new", Ed25519PrivateKey.generate())
    async with first.serving(), line_to(first.where, files) as line:
        await line.send(QUESTION)
        with pytest.raises(GossipError, match="ended"):
            await line.receive(TargetExistenceReply)
    assert three.asked == []


async def test_another_gateway_at_the_place_of_a_member_is_not_believed(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a certificate of the CA, and answers for itself alone."""
    first, second, third = three.members
    async with first.serving(), second.serving(), third.serving():
        await until(lambda: first.others == 2)
        three.answer(False, False)
        one, other = (member.gossip.membership.me for member in (second, third))
        assert await first.service._ask(one.id, QUESTION) is False
        store = first.gossip.membership.certificates
        found = store.get  # the service looks itself up as well, now and then
        wrong = lambda member: other if member == one.id else found(member)  # noqa: E731
        monkeypatch.setattr(store, "get", wrong)
        with pytest.raises(GossipError, match="another gateway answers"):
            await first.service._ask(one.id, QUESTION)


def test_a_hello_is_no_question() -> None:
    """An older version would take it for a frame that says nothing."""
    assert TargetExistenceQuery.__struct_config__.tag != Hello.__struct_config__.tag
