"""What health and log say of an archive fits the cause, and says once what to do."""

import errno
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_archive import Archive
from signed_audit import Machine

from crewgate.audit.file_part import FilePart
from crewgate.config import ExportConfig
from crewgate.config.bucket import Bucket
from crewgate.config.export import ReceiverURL
from crewgate.errors import ReceiverError
from crewgate.export.archive.archive_words import LOOK_AT_ENGINE, archive_words, place_of
from crewgate.export.archive.bucket_store import BucketStore


async def test_a_folder_that_is_not_mounted_gets_nothing(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    archive.root.rmdir()
    machine.write()
    archiver = archive.start()
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    assert not archive.root.exists()
    state = archiver.health()
    assert f"{archive.root}: No such file or directory; 0.0 MB of the audit wait" in state.why
    assert state.mend == "see that its file system is mounted, or correct `folder`"


async def test_a_failure_of_this_machine_is_not_blamed_on_the_place(
    machine: Machine, archive: Archive, autojump_clock: trio.testing.MockClock
) -> None:
    """Such as an engine without memory, or a disk that takes no position."""
    machine.write()
    archiver = archive.start()

    async def failing(part: FilePart) -> tuple[bytes, int]:
        raise ReceiverError("the engine fails: out of memory", mend=LOOK_AT_ENGINE)

    archiver._writer.write = failing  # type: ignore[method-assign]
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    assert "the engine fails: out of memory; 0.0 MB of the audit wait" in archiver.health().why
    assert archiver.health().mend.startswith("look at the free memory of this machine")
    archiver = archive.start()

    def full(position: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archiver._file.save = full  # type: ignore[method-assign]
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    assert "the position cannot be saved: No space left on device" in archiver.health().why
    assert archiver.health().mend.startswith("make room there")


async def test_keys_that_are_missing_are_not_blamed_on_the_service(
    machine: Machine,
    archive: Archive,
    autojump_clock: trio.testing.MockClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Health has one advice, and the log has the same."""
    machine.write()
    archiver = archive.start()
    keys = tmp_path / "s3.keys"
    keys.write_text("[default]\n")
    receiver = ExportConfig("far", "parquet", bucket=Bucket("b"), credentials=keys)
    archiver._store.list = BucketStore(receiver).list  # type: ignore[method-assign]
    with trio.move_on_after(30):
        await archiver.run(trio.Event())
    state = archiver.health()
    why = f"the file {keys} of `credentials` has no aws_access_key_id below [default]"
    mend = "write a line aws_access_key_id = VALUE there"
    assert f"{why}; 0.0 MB of the audit wait" in state.why
    assert state.mend == mend
    assert f"{why}; {mend}" in caplog.text


def test_the_words_of_an_archive_name_its_place(tmp_path: Path) -> None:
    url = ReceiverURL("https", "s3.example", 443, "")
    bucket = ExportConfig("far", "parquet", url=url, bucket=Bucket("audit", "gate/"))
    assert place_of(bucket) == "the bucket s3://audit/gate at s3.example"
    words = archive_words(bucket)
    assert words.mend == (
        "see that the service at s3.example answers, and that the keys in `credentials` may list, "
        "get and put objects of the bucket; or correct [export.far]"
    )
    assert words.disks == "of the audit and of `state`"
    folder = archive_words(ExportConfig("near", "parquet", folder=tmp_path))
    assert str(tmp_path) in folder.mend
    assert str(tmp_path) in folder.disks
