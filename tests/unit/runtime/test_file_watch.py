import os
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.runtime.file_watch import FileWatch

OLD_NS = 1_000_000_000_000_000_000


def settle(path: Path, at_ns: int = OLD_NS) -> None:
    """Give a file an old time, so that its stamp can be trusted."""
    os.utime(path, ns=(at_ns, at_ns))


def test_a_file_that_did_not_change_is_not_reported(tmp_path: Path) -> None:
    """Looking again at the same content says nothing, young or old."""
    path = tmp_path / "keys"
    path.write_text("a")
    watch = FileWatch([path])
    assert watch.changed() == []
    settle(path)
    assert watch.changed() == []
    assert watch.changed() == []


def test_a_changed_file_is_reported_once(tmp_path: Path) -> None:
    """Only the file whose content changed is named, and only at the first look after it."""
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_text("a")
        settle(path)
    watch = FileWatch([one, other])
    other.write_text("b")
    assert watch.changed() == [other]
    assert watch.changed() == []


def test_a_second_write_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    """A young file is read again although its time, inode and size are the same."""
    path = tmp_path / "keys"
    path.write_text("a")
    stamp = path.stat().st_mtime_ns
    watch = FileWatch([path])
    path.write_text("b")
    os.utime(path, ns=(stamp, stamp))
    assert watch.changed() == [path]


def test_a_replaced_file_with_the_same_content_is_no_change(tmp_path: Path) -> None:
    """A deployment that writes the same keys again causes no reload."""
    path, fresh = tmp_path / "keys", tmp_path / "fresh"
    path.write_text("a")
    settle(path)
    watch = FileWatch([path])
    fresh.write_text("a")
    fresh.replace(path)
    assert watch.changed() == []


def test_a_file_that_goes_and_comes_back_is_reported_each_time(tmp_path: Path) -> None:
    """A missing file is a change, and so is its return with other content."""
    path = tmp_path / "keys"
    watch = FileWatch([path])
    assert watch.changed() == []
    path.write_text("a")
    assert watch.changed() == [path]
    path.unlink()
    assert watch.changed() == [path]


def test_files_that_could_not_be_used_are_due_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, although they did not change: what they name may be there by then."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    watch = FileWatch((tmp_path / "file",))
    (tmp_path / "file").write_text("one")
    assert watch.is_due()
    watch.retry_later()
    assert not watch.is_due()
    now += limits.reload_refused_seconds
    assert watch.is_due()
    assert not watch.is_due()
