"""The folder tells its own files from others, and a finished one from one in use."""

import os
import threading
from pathlib import Path

import pytest

from crewgate.audit import folder as audit_folder
from crewgate.audit.reserved_space import ReservedSpace

NOON = 1_800_000_000_000_000_000


def make(folder: Path, process: str, time_ns: int, size: int = 0) -> tuple[int, Path]:
    """A file of `size` bytes, still open and locked."""
    descriptor, path = audit_folder.create(folder, process, time_ns)
    os.write(descriptor, b"x" * size)
    return descriptor, path


def test_files_come_in_the_order_of_their_start(tmp_path: Path) -> None:
    """Across processes, and also for twelve files of one process in one microsecond."""
    expected = []
    for process, time_ns in [("b", NOON), *[("a", NOON + 1000)] * 12, ("c", NOON + 2000)]:
        descriptor, path = make(tmp_path, process, time_ns)
        os.close(descriptor)
        expected.append(path)
    assert audit_folder.files(tmp_path) == expected


def test_other_peoples_files_are_not_ours(tmp_path: Path) -> None:
    """What does not bear our name is neither read nor counted nor deleted."""
    names = ["notes.jsonl", "worker-1-20270115T080000.000000Z.jsonl.gz", ".worker.jsonl", "x"]
    for name in names:
        (tmp_path / name).write_text("mine")
    assert audit_folder.files(tmp_path) == []
    assert audit_folder.prune(tmp_path, 0) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_no_folder_is_no_file(tmp_path: Path) -> None:
    """A gateway that has not started yet has an empty audit, not an error."""
    assert audit_folder.files(tmp_path / "none") == []
    assert audit_folder.size(tmp_path / "none") == 0


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    """Whoever can place a link in the folder can make nobody delete or lock its target."""
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "audit"
    folder.mkdir()
    link = folder / "worker-1-20270115T080000.000000Z.jsonl"
    link.symlink_to(target)
    assert audit_folder.prune(folder, 0) == []
    descriptor, path = make(folder, "worker-1", NOON)
    os.close(descriptor)
    assert path != link
    assert target.read_text() == "precious"


def test_racing_prunes_delete_each_file_once(tmp_path: Path) -> None:
    """Several processes that rotate at once neither fail nor delete more than they must."""
    paths = []
    for number in range(40):
        descriptor, path = make(tmp_path, "w", NOON + number * 1000, size=100)
        os.close(descriptor)
        paths.append(path)
    removed: list[Path] = []
    start = threading.Barrier(4)

    def prune() -> None:
        start.wait()
        removed.extend(audit_folder.prune(tmp_path, 1000))

    threads = [threading.Thread(target=prune) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(removed)) == len(removed)
    left = audit_folder.files(tmp_path)
    assert left == paths[len(paths) - len(left) :]
    assert audit_folder.size(tmp_path) <= 1000


def test_reserved_space_holds_blocks_and_leaves_no_name(tmp_path: Path) -> None:
    """It has its blocks, nobody sees it, and what does not fit is an OSError."""
    space = ReservedSpace.allocate(tmp_path, 1 << 20)
    assert os.fstat(space._descriptor).st_blocks * 512 >= 1 << 20
    assert list(tmp_path.iterdir()) == []
    space.release()
    with pytest.raises(OSError, match=r"space|large"):
        ReservedSpace.allocate(tmp_path, 1 << 62)
    assert list(tmp_path.iterdir()) == []
