"""A file that was written survives a power loss; an error says in words what cannot be written."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.runtime import durable_files
from crewgate.runtime.durable_files import (
    append,
    cause,
    create_file,
    describe,
    make_folder,
    open_to_append,
    remove_drafts,
    remove_file,
    rename_file,
    sync_folder,
    write_all,
    write_file,
    write_files,
)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the kernel, in its order; a sync says whether of a file or of a folder."""
    done: list[str] = []

    def spy(name: str, word: Callable[..., str]) -> None:
        real = getattr(os, name)

        def called(*args: object, **more: object) -> object:
            done.append(word(*args))
            return real(*args, **more)

        monkeypatch.setattr(os, name, called)

    def synced(descriptor: int) -> str:
        return "sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file"

    for name in ("replace", "link", "unlink", "mkdir"):
        spy(name, lambda *_args, name=name: name)
    spy("write", lambda *_args: "write")
    spy("fsync", synced)
    spy("fdatasync", synced)
    return done


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Have one call of the kernel's fail."""

    def refused(*args: object, **more: object) -> object:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, refused)


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_disk_has_the_content_before_the_name_and_then_the_name(
    tmp_path: Path, steps: list[str]
) -> None:
    """Else a loss of power leaves a name without content, or neither."""
    write_file(tmp_path / "a", b"one", 0o600)
    assert [each for each in steps if each != "unlink"] == [
        "write",
        "sync file",
        "replace",
        "sync folder",
    ]


def test_of_several_files_none_has_its_name_before_its_content(
    tmp_path: Path, steps: list[str]
) -> None:
    """And their folder is synced once, after the last."""
    paths = [tmp_path / name for name in "abc"]
    write_files({path: path.name.encode() for path in paths}, 0o600)
    assert [each for each in steps if each != "unlink"] == [
        *["write"] * 3,
        *["sync file"] * 3,
        *["replace"] * 3,
        "sync folder",
    ]
    assert [path.read_bytes() for path in paths] == [b"a", b"b", b"c"]


def test_a_new_file_is_made_in_the_same_order(tmp_path: Path, steps: list[str]) -> None:
    """And its draft's name goes before the folder is synced, not at some time."""
    create_file(tmp_path / "a", b"one", 0o600)
    assert steps[:5] == ["write", "sync file", "link", "unlink", "sync folder"]


def test_what_goes_or_comes_is_on_the_disk_with_its_folder(
    tmp_path: Path, steps: list[str]
) -> None:
    """A name that was taken away would be back, and a folder gone with all in it."""
    (tmp_path / "a").write_bytes(b"")
    steps.clear()
    remove_file(tmp_path / "a")
    assert steps == ["unlink", "sync folder"]
    steps.clear()
    assert make_folder(tmp_path / "b", 0o700)
    assert steps == ["mkdir", "sync folder"]
    steps.clear()
    (tmp_path / "c").write_bytes(b"")
    rename_file(tmp_path / "c", tmp_path / "d")
    assert steps[-2:] == ["replace", "sync folder"]


def test_a_line_is_on_the_disk_when_append_returns(tmp_path: Path, steps: list[str]) -> None:
    """Each of two, in a file that stays open."""
    descriptor = open_to_append(tmp_path / "log", 0o600)
    try:
        append(descriptor, b"one\n")
        append(descriptor, b"two\n")
    finally:
        os.close(descriptor)
    assert steps == ["write", "sync file", "write", "sync file"]
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


@pytest.fixture
def careful() -> Iterator[None]:
    """A user who closes new files to all others, unless a program says otherwise."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("careful")
def test_a_new_folder_has_its_mode_whatever_the_umask(tmp_path: Path, steps: list[str]) -> None:
    """A group passes through to its door; those above it are as the user wants them."""
    state = tmp_path / "gw" / "state"
    make_folder(state, 0o710, parents=True)
    assert steps[-1] == "sync folder"
    assert stat.S_IMODE(state.stat().st_mode) == 0o710
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700
    state.parent.chmod(0o2700)
    make_folder(state.parent / "audit", 0o750)
    assert stat.S_IMODE((state.parent / "audit").stat().st_mode) == 0o2750


@pytest.mark.usefixtures("careful")
def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Its owner may have closed it on purpose."""
    (tmp_path / "state").mkdir(0o700)
    assert not make_folder(tmp_path / "state", 0o710, parents=True)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.usefixtures("careful")
@pytest.mark.parametrize("write", [write_file, create_file])
def test_it_has_its_mode_from_the_first_moment_whatever_the_umask(
    tmp_path: Path, write: Callable[[Path, bytes, int], None]
) -> None:
    """A key is never readable by others, and a list for all is, under any umask."""
    write(tmp_path / "list", b"", 0o644)
    write(tmp_path / "key", b"", 0o600)
    assert stat.S_IMODE((tmp_path / "list").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_where_a_step_fails_the_old_file_stands_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And the error names the file that the caller wanted, not a draft."""
    path = tmp_path / "a"
    write_file(path, b"old", 0o600)
    refuse(monkeypatch, name, errno.ENOSPC)
    with pytest.raises(OSError, match="No space") as caught:
        write_file(path, b"new", 0o600)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert only(tmp_path) == ["a"]


def test_a_write_that_the_kernel_takes_in_pieces_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is nearly full takes a part first."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_file(tmp_path / "a", b"0123456789", 0o600)
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    with pytest.raises(OSError, match="Bad file"):
        write_all(-1, b"x")


def test_nothing_is_overwritten_by_create(tmp_path: Path) -> None:
    """What stands there stays, and no draft does."""
    create_file(tmp_path / "a", b"old", 0o600)
    with pytest.raises(FileExistsError) as caught:
        create_file(tmp_path / "a", b"new", 0o600)
    assert caught.value.filename == str(tmp_path / "a")
    assert ((tmp_path / "a").read_bytes(), only(tmp_path)) == (b"old", ["a"])


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def unlinked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as several of them say so."""
    refuse(monkeypatch, "link", request.param)


@pytest.mark.usefixtures("unlinked")
def test_a_new_file_is_made_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, which an empty file has held, is on the disk after its content."""
    path, found = tmp_path / "a", []
    replace, sync = os.replace, os.fsync

    def replaced(old: Path, new: Path) -> None:
        found.append(f"over {Path(new).read_bytes()!r}")
        replace(old, new)

    def synced(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
        sync(descriptor)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", synced)
    create_file(path, b"one", 0o644)
    assert found == [".draft", "over b''", ""]
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o644)
    assert only(tmp_path) == ["a"]


@pytest.mark.usefixtures("unlinked")
def test_nothing_is_overwritten_without_hard_links(tmp_path: Path) -> None:
    """Neither a file nor what a symbolic link names."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "b"):
        with pytest.raises(FileExistsError) as caught:
            create_file(tmp_path / name, b"new", 0o600)
        assert caught.value.filename == str(tmp_path / name)
    assert ((tmp_path / "a").read_bytes(), only(tmp_path)) == (b"old", ["a", "b"])


@pytest.mark.usefixtures("unlinked")
def test_a_new_name_that_cannot_be_given_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No empty file stays in the way of the next attempt."""
    refuse(monkeypatch, "replace", errno.EIO)
    with pytest.raises(OSError, match="error") as caught:
        create_file(tmp_path / "a", b"one", 0o600)
    assert (caught.value.filename, only(tmp_path)) == (str(tmp_path / "a"), [])


def test_a_link_that_fails_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no second way is tried."""
    refuse(monkeypatch, "link", errno.EIO)
    with pytest.raises(OSError, match="error"):
        create_file(tmp_path / "a", b"one", 0o600)
    assert only(tmp_path) == []


def test_what_is_not_there_is_as_good_as_removed(tmp_path: Path) -> None:
    """But not in a folder that is none."""
    remove_file(tmp_path / "a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        remove_file(tmp_path / "file" / "a")


def test_folders_are_made_to_the_top_and_only_once(tmp_path: Path) -> None:
    """With the mode of the last; a file in the way is an error."""
    below = tmp_path / "a" / "b" / "c"
    assert make_folder(below, 0o700, parents=True)
    assert not make_folder(below, 0o755, parents=True)
    assert stat.S_IMODE(below.stat().st_mode) == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file", 0o700)
    with pytest.raises(FileNotFoundError) as caught:
        make_folder(tmp_path / "none" / "a", 0o700)
    assert caught.value.filename == str(tmp_path / "none" / "a")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Is no failure where the file system knows no such thing, and one where the disk fails."""
    refuse(monkeypatch, "fsync", code)
    if code == errno.EINVAL:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="error"):
            sync_folder(tmp_path)


def test_a_folder_that_may_not_be_read_is_synced_with_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of mode 0300 takes files, and its names must reach the disk."""
    synced = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    refuse(monkeypatch, "open", errno.EACCES)
    sync_folder(tmp_path)
    assert synced == [True]


def test_drafts_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """By their age; no other file is touched."""
    for name in (".a.1.draft", ".b.2.draft", "c.draft", ".d"):
        (tmp_path / name).write_bytes(b"")
        age = 0.0 if name.startswith(".b") else limits.draft_seconds_max + 60
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_drafts(tmp_path)
    assert only(tmp_path) == [".b.2.draft", ".d", "c.draft"]
    remove_drafts(tmp_path / "none")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, f"quota of user {os.geteuid()}"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, f"give user {os.geteuid()} the right"),
        (errno.EIO, "replace the disk"),
    ],
)
def test_an_error_says_where_what_and_how_to_mend_it(code: int, word: str) -> None:
    """In one line, for each way in which disks fail people."""
    error = OSError(code, os.strerror(code), "/state/member")
    said = describe(error)
    assert said.startswith(f"/state/member: {os.strerror(code)}; ")
    assert word in said
    assert describe(OSError(code, os.strerror(code)), Path("/else")).startswith("/else: ")
    assert cause(error) in said


def test_an_error_without_a_number_is_said_as_it_is() -> None:
    """Some are raised without one."""
    assert describe(OSError("no such thing"), Path("/a")) == "/a: no such thing"
    assert cause(OSError()) == "OSError"
    assert durable_files.describe(OSError(errno.ENOTEMPTY, "not empty")) == "not empty"
