"""Who the members are, over restarts: as it was, or as of a machine that begins anew."""

import os
from pathlib import Path
from stat import S_ISDIR

import pytest
from gossip_world import member_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.gossip.quorum_view_file import QuorumViewFile

ME, YOU, THIRD = member_id(0), member_id(1), member_id(2)


def freshness(*, counts: bool = True) -> QuorumFreshness:
    made = QuorumFreshness(ME, counts=counts)
    made.merge([YOU, THIRD], [YOU])
    return made


def restored(path: Path) -> QuorumFreshness:
    made = QuorumFreshness(ME)
    QuorumViewFile(path).restore(made)
    return made


@pytest.mark.parametrize("counts", [False, True])
def test_it_is_as_it_was(tmp_path: Path, counts: bool) -> None:
    """Members, those who counted, and whether we do."""
    before = freshness(counts=counts)
    QuorumViewFile(tmp_path / "standing").save(before)
    after = restored(tmp_path / "standing")
    assert (after.digest, after.counts, after.others) == (before.digest, counts, (YOU, THIRD))


def test_it_is_written_when_it_is_another(tmp_path: Path) -> None:
    """And not each time that it may have been; whole, or as before."""
    file, fresh = QuorumViewFile(tmp_path / "standing"), freshness()
    file.save(fresh)
    (tmp_path / "standing").unlink()
    file.save(fresh)
    assert not (tmp_path / "standing").exists()
    fresh.compared(THIRD, 1.0)
    file.save(fresh)
    assert restored(tmp_path / "standing").counted == tuple(sorted([ME, YOU, THIRD]))
    assert [path.name for path in tmp_path.iterdir()] == ["standing"]


def test_a_disk_that_lacks_something_says_not_that_its_machine_counts(tmp_path: Path) -> None:
    """After a restart it would make up a majority with what it has lost; unless it did before."""
    path = tmp_path / "standing"
    for is_complete, counts in ((False, False), (True, True), (False, True)):
        file = QuorumViewFile(path)
        file.restore(QuorumFreshness(ME))
        file.save(freshness(), is_complete=is_complete)
        after = restored(path)
        assert (after.others, after.counts) == ((YOU, THIRD), counts)


def test_its_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a loss of power brings back who the members were before."""
    fsync, synced = os.fsync, list[str]()

    def seen(descriptor: int) -> None:
        there = (tmp_path / "standing").exists()
        synced.append(f"{S_ISDIR(os.fstat(descriptor).st_mode)} {there}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    QuorumViewFile(tmp_path / "standing").save(freshness())
    assert synced == ["False False", "True True"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_one_is_none(tmp_path: Path, data: st.DataObject) -> None:
    """A machine that does not count has to ask; one that is cut off never takes itself for all."""
    path = tmp_path / "standing"
    QuorumViewFile(path).save(freshness())
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert not restored(path).counts
    path.write_bytes(data.draw(st.binary(max_size=40)))
    restored(path)
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + bytes((whole[at] ^ 129,)) + whole[at + 1 :])
    restored(path)
    path.unlink()
    assert not restored(path).counts


def test_an_operator_s_word_stays(tmp_path: Path) -> None:
    """A file of before takes nothing from it."""
    QuorumViewFile(tmp_path / "standing").save(freshness(counts=False))
    made = QuorumFreshness(ME, counts=True)
    QuorumViewFile(tmp_path / "standing").restore(made)
    assert made.counts


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    """And what was there is there."""
    file = QuorumViewFile(tmp_path / "away" / "standing")
    with pytest.raises(OSError, match="No such file"):
        file.save(freshness())
