"""A file whose content can be changed on a full disk, and is whole after a power loss."""

import errno
from pathlib import Path

import pytest

from crewgate.runtime import reserved_file
from crewgate.runtime.reserved_file import ReservedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def read(path: Path) -> bytes:
    """As the next process does."""
    return ReservedFile(path, 100).read()


def test_the_last_content_is_read(path: Path) -> None:
    """Also by a process that goes on to write; the file never grows."""
    assert read(path) == b""
    file = ReservedFile(path, 100)
    assert (file.reserve(), file.reserve()) == (True, False)
    size = path.stat().st_size
    assert read(path) == b""
    for content in (b"one", b"", b"x" * 100, b"two"):
        file.write(content)
        assert read(path) == content
    again = ReservedFile(path, 100)
    again.read()
    again.write(b"three")
    assert (read(path), path.stat().st_size) == (b"three", size)


def test_what_has_no_room_leaves_the_content_before(path: Path) -> None:
    """And says so with the path."""
    file = ReservedFile(path, 100)
    file.write(b"one")
    with pytest.raises(OSError, match="over 100 bytes") as refused:
        file.write(b"x" * 101)
    assert refused.value.filename == str(path)
    assert read(path) == b"one"


def test_no_room_is_asked_for_once_it_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full takes no new file."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = ReservedFile(path, 100)
    file.reserve()
    monkeypatch.setattr(reserved_file, "write_file", full)
    file.write(b"one")
    assert read(path) == b"one"
    path.unlink()
    with pytest.raises(OSError, match="No space"):
        file.write(b"two")


@pytest.mark.parametrize("torn", range(0, 47, 4))
def test_a_write_that_a_power_loss_tore_leaves_the_content_before(path: Path, torn: int) -> None:
    """Wherever it was torn, and whichever slot it went to."""
    file = ReservedFile(path, 100)
    for before, after in ((b"", b"abc"), (b"abc", b"def"), (b"def", b"ghi")):
        old = path.read_bytes() if path.exists() else bytes(288)
        file.write(after)
        new = path.read_bytes()
        at = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b) // 144 * 144
        path.write_bytes(new[: at + torn] + old[at + torn :])
        assert read(path) == before
        path.write_bytes(new)


def test_a_file_that_has_no_whole_content_is_damaged(path: Path) -> None:
    """It is not taken for one that nothing was written to."""
    path.write_bytes(b"x" * 288)
    with pytest.raises(ValueError, match="it is damaged"):
        read(path)


def test_another_version_had_another_size(path: Path) -> None:
    """What it kept is read, and then the file is made anew."""
    ReservedFile(path, 50).write(b"one")
    file = ReservedFile(path, 100)
    assert (file.read(), file.reserve()) == (b"one", True)
