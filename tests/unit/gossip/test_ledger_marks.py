"""How far a member's ledger had got: the others keep its word, and hand it back."""

from pathlib import Path

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forged_member import line_to
from gossip_members import Authority, Member
from socketless_members import StillMember

from crewgate import limits
from crewgate.core.budget.ledger_mark import LedgerMark
from crewgate.gossip.ledger_marks import LedgerMarks, SignedLedgerMark
from crewgate.gossip.sync_session import initiate

CLUSTER = bytes(16)
M0, M1 = b"member-0", b"member-1"
MARK = LedgerMark("a" * 32, "west-1", 500, 3)


KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()


def marks_of(folder: Path, key: Ed25519PrivateKey | None = None) -> LedgerMarks:
    key = key or Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return LedgerMarks(folder, CLUSTER, key.sign, public)


def word(marks: LedgerMarks, mark: LedgerMark) -> SignedLedgerMark:
    marks.update(mark)
    assert marks.own is not None
    return marks.own


def test_only_what_a_machine_has_signed_is_its_word(tmp_path: Path) -> None:
    """No member can make up another's, nor change it; nor is it one in another trust domain."""
    mine = marks_of(tmp_path)
    said = word(mine, MARK)
    assert mine.mine(said) == MARK
    assert mine.mine(None) is None
    assert mine.mine(msgspec.structs.replace(said, count=10**9)) is None
    assert mine.mine(word(marks_of(tmp_path), MARK)) is None
    key = Ed25519PrivateKey.generate()
    there = LedgerMarks(tmp_path, b"x" * 16, key.sign, key.public_key().public_bytes_raw())
    assert marks_of(tmp_path, key).mine(word(there, MARK)) is None


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        (LedgerMark("a" * 32, "west-1", 501, 3), True),
        (LedgerMark("a" * 32, "west-1", 499, 3), False),
        (LedgerMark("b" * 32, "west-1", 0, 3), False),  # a new book that no person has accepted
        (LedgerMark("b" * 32, "west-1", 0, 4), True),
    ],
)
def test_the_last_word_is_kept(tmp_path: Path, later: LedgerMark, *, is_kept: bool) -> None:
    """By its term, then by how far it is."""
    kept, machine = marks_of(tmp_path), marks_of(tmp_path, KEY)
    kept.take(M0, PUBLIC, word(machine, MARK))
    kept.take(M0, PUBLIC, word(machine, later))
    found = kept.of(M0)
    assert found is not None
    assert found.mark == (later if is_kept else MARK)


def test_a_word_under_another_key_makes_room_for_one_under_the_key_of_now(tmp_path: Path) -> None:
    """Its machine could not know it for its own; and what it has not signed is no word of it."""
    kept, machine, other = marks_of(tmp_path), marks_of(tmp_path, KEY), marks_of(tmp_path)
    kept.take(M0, PUBLIC, word(other, MARK))
    assert kept.of(M0) is None
    kept.take(M0, other._public, word(other, MARK))
    lower = word(machine, msgspec.structs.replace(MARK, count=1))
    kept.take(M0, PUBLIC, lower)
    assert kept.of(M0) == lower
    kept.take(M0, PUBLIC, word(other, msgspec.structs.replace(MARK, count=10**6)))
    assert kept.of(M0) == lower


def test_it_outlives_a_restart(tmp_path: Path) -> None:
    """Once a minute; of who is a member still; a torn file counts as none."""
    kept, machine = marks_of(tmp_path), marks_of(tmp_path, KEY)
    assert not kept.take_turn(0.0)
    for member in (M0, M1):
        kept.take(member, PUBLIC, word(machine, MARK))
    assert (kept.take_turn(0.0), kept.take_turn(1.0)) == (True, False)
    kept.flush({M0})
    assert kept.of(M1) is None
    assert not kept.take_turn(2 * limits.ledger_marks_seconds)
    kept.take(M0, PUBLIC, word(machine, msgspec.structs.replace(MARK, count=501)))
    assert not kept.take_turn(limits.ledger_marks_seconds - 1)
    assert kept.take_turn(limits.ledger_marks_seconds)
    again = marks_of(tmp_path)
    assert (again.of(M0) is not None, again.of(M1)) == (True, None)
    (tmp_path / "ledger-marks").write_bytes(b"torn")
    assert marks_of(tmp_path).of(M0) is None


def test_what_is_heard_while_the_disk_writes_stays(tmp_path: Path) -> None:
    """A thread writes, and the loop goes on to hear: nothing of it is lost, and it is written."""
    kept, machine = marks_of(tmp_path), marks_of(tmp_path, KEY)
    kept.take(M0, PUBLIC, word(machine, MARK))
    later = word(machine, msgspec.structs.replace(MARK, count=501))

    class Members:
        """Asked in the thread, while two conversations begin."""

        def __contains__(self, member: object) -> bool:
            kept.take(M0, PUBLIC, later)
            kept.take(M1, PUBLIC, later)
            return member == M0

    kept.flush(Members())
    assert (kept.of(M0), kept.of(M1)) == (later, later)
    assert kept.take_turn(limits.ledger_marks_seconds)
    kept.flush({M0, M1})
    again = marks_of(tmp_path)
    assert (again.of(M0), again.of(M1)) == (later, later)


async def test_a_machine_is_told_what_it_once_said(authority: Authority, tmp_path: Path) -> None:
    """With the first stream that it opens, also after it has lost its own disk."""
    member = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    signing = Ed25519PrivateKey.generate()
    heard: list[LedgerMark] = []

    async def life(folder: str, mark: LedgerMark) -> None:
        one = StillMember(authority, tmp_path / folder, "m1", signing=signing)
        one.gossip.ledger_marks.update(mark)
        one.gossip.on_mark = heard.append
        async with line_to(member.where, one.files) as line:
            await initiate(one.gossip, line, trio.Lock())

    async with member.serving():
        await life("before", MARK)
        assert heard == []
        await life("lost", LedgerMark("b" * 32, "west-1"))
        assert heard == [MARK]
