"""Who of two members hands its list of the revoked to the other, and what becomes of it."""

from itertools import product
from pathlib import Path

import pytest
from forged_member import line_to
from gossip_members import Authority, Member, until
from socketless_members import StillMember

from crewgate.gossip.crl_negotiation import NO_LIST, CRLVersion
from crewgate.gossip.stream import (
    CapsuleBatch,
    CertificateBatch,
    CRLMessage,
    EpochDigests,
    HeldRanges,
    Hello,
)

OURS, OTHER = b"ours----", b"other---"


class Shelf:
    """A list that is a number alone; remembers what it was handed."""

    def __init__(self, number: int = 0, *, takes: bool = True, words: str = "") -> None:
        self.number = number
        self.takes = takes
        self.handed: list[bytes] = []
        self.told = set[bytes]()  # members
        self.words = words

    def version(self, member: bytes) -> CRLVersion:
        self.told.add(member)
        return CRLVersion(OURS if self.number else b"", self.number, self.takes)

    def data(self) -> bytes:
        return str(self.number).encode()

    def take(self, data: bytes, member: bytes) -> None:
        assert member in self.told
        self.handed.append(data)
        if not self.words:
            self.number = max(self.number, int(data))

    def take_message(self) -> str:
        return self.words


MARKS = [
    CRLVersion(authority, number, takes)
    for authority, number in ((b"", 0), (OURS, 1), (OURS, 2), (OTHER, 1), (OTHER, 2))
    for takes in (False, True)
]


@pytest.mark.parametrize(("one", "other"), list(product(MARKS, MARKS)))
def test_of_two_at_most_one_speaks(one: CRLVersion, other: CRLVersion) -> None:
    """And only to one who wants a newer list of the same CA, or has none."""
    assert not (one.is_for(other) and other.is_for(one))
    wanted = other.takes and one.number > 0
    newer = other.number == 0 or (one.authority == other.authority and one.number > other.number)
    assert one.is_for(other) == (wanted and newer)


def test_who_has_none_and_wants_none_hands_over_nothing() -> None:
    """As a machine of an older version, which says no word of lists."""
    assert not any(NO_LIST.is_for(each) or each.is_for(NO_LIST) for each in MARKS)


@pytest.mark.parametrize("asks_first", [True, False])
async def test_the_newer_list_reaches_a_member_that_joins(
    authority: Authority, tmp_path: Path, asks_first: bool
) -> None:
    """Whichever of the two begins; and from it the next one."""
    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    second = Member(authority, tmp_path / "m1", "m1", [first.where])
    third = Member(authority, tmp_path / "m2", "m2", [second.where])
    shelves = [Shelf(7 if asks_first else 5), Shelf(5 if asks_first else 7), Shelf()]
    for member, shelf in zip((first, second, third), shelves, strict=True):
        member.gossip.crls = shelf
    async with first.serving(), second.serving(), third.serving():
        await until(lambda: all(shelf.number == 7 for shelf in shelves))
        await until(lambda: all(each.is_fresh for each in (first, second, third)))


async def test_the_machine_that_signs_is_handed_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    """Though another says that its list is newer."""
    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    second = Member(authority, tmp_path / "m1", "m1", [first.where])
    signer, taker = Shelf(5, takes=False), Shelf(9)
    first.gossip.crls, second.gossip.crls = signer, taker
    async with first.serving(), second.serving():
        await until(lambda: second.is_fresh and first.others == 1)
    assert (signer.handed, taker.handed) == ([], [])


async def test_a_list_that_is_no_good_is_said_and_ends_no_conversation(
    authority: Authority, tmp_path: Path
) -> None:
    """What is revoked is compared all the same, or a bad list would keep a machine out of touch."""
    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    second = Member(authority, tmp_path / "m1", "m1", [first.where])
    shelf = Shelf(words="that list is no good")
    first.gossip.crls, second.gossip.crls = Shelf(7), shelf
    async with first.serving(), second.serving():
        await until(lambda: bool(shelf.handed) and second.is_fresh)
    assert (shelf.number, shelf.handed[0]) == (0, b"7")
    assert "that list is no good" in second.host.said


async def test_a_machine_of_an_older_version_hears_no_list(
    authority: Authority, tmp_path: Path
) -> None:
    """It would not know the word; and it says none, though ours is older."""
    member = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    member.gossip.crls = Shelf(7)
    old = StillMember(authority, tmp_path / "old", "old", rights=(), bootstrap=True)
    async with member.serving(), line_to(member.where, old.files) as line:
        await line.send(old.membership.hello(old.node))
        hello = await line.receive(Hello)
        assert hello.revoked == CRLVersion(OURS, 7, takes=True)
        await line.send(CertificateBatch([], last=True), EpochDigests({}))
        assert (await line.receive(CertificateBatch)).last
        await line.receive(HeldRanges)
        await line.send(HeldRanges({}), CapsuleBatch([], last=True))
        await line.receive(CapsuleBatch)


async def test_who_promises_a_list_and_says_something_else_is_hung_up_on(
    authority: Authority, tmp_path: Path
) -> None:
    """As for any word out of turn."""
    member = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    shelf = Shelf(7)
    member.gossip.crls = shelf
    liar = StillMember(authority, tmp_path / "liar", "liar", rights=(), bootstrap=True)
    liar.gossip.crls = Shelf(2**60)
    async with member.serving():
        async with line_to(member.where, liar.files) as line:
            hello = liar.membership.hello(liar.node)
            await line.send(_with(hello, CRLVersion(OURS, 2**60)), CertificateBatch([], last=True))
            await line.receive(Hello)
            await line.receive(CertificateBatch)
            await line.send(EpochDigests({}))
            with pytest.raises(Exception, match="ended"):
                await line.receive(HeldRanges)
        async with line_to(member.where, liar.files) as line:
            await line.send(_with(hello, CRLVersion(OURS, 2**60)), CertificateBatch([], last=True))
            await line.receive(Hello)
            await line.receive(CertificateBatch)
            await line.send(CRLMessage(b"7"), EpochDigests({}))
            await line.receive(HeldRanges)
    assert shelf.handed == [b"7"]


def _with(hello: Hello, mark: CRLVersion) -> Hello:
    fields = {name: getattr(hello, name) for name in Hello.__struct_fields__}
    return Hello(**(fields | {"revoked": mark}))
