"""Which checkpoints of their audits members keep of each other."""

from pathlib import Path

import pytest
import trio
from forged_member import line_to
from gossip_members import Authority, Member
from socketless_members import StillMember

from crewgate import limits
from crewgate.gossip.kept_checkpoints import CheckpointHead, KeptCheckpoints
from crewgate.gossip.sync_session import initiate

M0, M1 = b"member-0", b"member-1"
HOUR = 3600.0


def head(number: int, letter: str = "a") -> CheckpointHead:
    return CheckpointHead(number, letter * 64)


def numbers(kept: KeptCheckpoints, member: bytes = M0) -> list[int]:
    return [each.number for each in kept.of(member)]


def test_the_first_of_each_hour_and_the_newest_are_kept(tmp_path: Path) -> None:
    kept = KeptCheckpoints(tmp_path)
    for number in range(1, 361):  # one each minute
        kept.take(M0, head(number), number * 60.0)
    assert numbers(kept) == [1, 60, 120, 180, 240, 300, 360]
    assert numbers(kept, M1) == []


def test_what_is_said_twice_is_kept_once(tmp_path: Path) -> None:
    kept = KeptCheckpoints(tmp_path)
    for at in range(3):
        kept.take(M0, head(7), at * HOUR)
    kept.take(M0, None, 0.0)
    assert numbers(kept) == [7]


def test_another_chain_makes_nothing_forgotten(tmp_path: Path) -> None:
    """A member that signs its past anew says a lower number, or another digest."""
    kept = KeptCheckpoints(tmp_path)
    for number in (1, 2, 3):
        kept.take(M0, head(number), 0.0)
    kept.take(M0, head(2, "b"), 0.0)
    kept.take(M0, head(2, "c"), 0.0)
    assert [(each.number, each.digest[0]) for each in kept.of(M0)] == [
        (1, "a"), (3, "a"), (2, "b"), (2, "c"),
    ]  # fmt: skip


def test_a_member_that_says_new_chains_all_the_time_has_no_past_forgotten(tmp_path: Path) -> None:
    kept = KeptCheckpoints(tmp_path)
    for number in (100, 110, 120):
        kept.take(M0, head(number), 0.0)
    for at in range(7200):  # one each second
        kept.take(M0, CheckpointHead(1 + at % 2, f"{at:064}"), float(at))
    assert len(kept.of(M0)) == 2 * limits.kept_checkpoints_hour_max
    assert numbers(kept)[:2] == [100, 120]


def test_they_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "kept_checkpoints_max", 5)
    kept = KeptCheckpoints(tmp_path)
    for number in range(1, 100):
        kept.take(M0, head(number), number * HOUR)
    assert numbers(kept) == [95, 96, 97, 98, 99]
    monkeypatch.setattr(limits, "gossip_members_max", 0)
    kept.take(M1, head(1), 0.0)
    assert numbers(kept, M1) == []


def test_they_are_on_the_disk_a_minute_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of machines that are no members any more are not; a failed write is done again."""
    kept = KeptCheckpoints(tmp_path)
    assert not kept.take_turn(100.0)
    kept.take(M0, head(1), 0.0)
    kept.take(M1, head(1), 0.0)
    assert kept.take_turn(100.0)
    with monkeypatch.context() as patched:
        patched.setattr("crewgate.gossip.kept_checkpoints.write_file", _full)
        with pytest.raises(OSError, match="full"):
            kept.flush({M0})
    assert not kept.take_turn(101.0)
    assert kept.take_turn(161.0)
    kept.flush({M0})
    assert not kept.take_turn(1000.0)
    again = KeptCheckpoints(tmp_path)
    assert (numbers(again), numbers(again, M1)) == ([1], [])
    (tmp_path / "audit-checkpoints").write_bytes(b"\xc1")
    assert numbers(KeptCheckpoints(tmp_path)) == []


def _full(*_: object) -> None:
    raise OSError(28, "full")


async def test_members_say_theirs_when_they_meet(authority: Authority, tmp_path: Path) -> None:
    member = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    other = StillMember(authority, tmp_path / "m1", "m1")
    other.gossip.kept_checkpoints.own = head(5)
    async with member.serving(), line_to(member.where, other.files) as line:
        await initiate(other.gossip, line, trio.Lock())
        assert numbers(member.gossip.kept_checkpoints, other.id) == [5]
