"""A machine whose audit is written and signed in one process, under a clock that tests set."""

import os
import weakref
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crewgate.audit.checkpoints.findings import FindingKind, HeldCheckpoint
from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.log import newest_checkpoint
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.checkpoints.verification import VerificationReport, verify
from crewgate.audit.writer import AuditWriter, RotationPolicy

KEY, OTHER_KEY = CheckpointKey(bytes(32)), CheckpointKey(b"\1" * 32)
BEGIN = datetime(2026, 12, 1, 8, tzinfo=UTC)


class Clock:
    """The time of a machine."""

    def __init__(self) -> None:
        self.now = BEGIN

    def read(self) -> datetime:
        return self.now

    def read_ns(self) -> int:
        return int(self.now.timestamp() * 1e9)


class Machine:
    """Two processes that write the audit, and the agent's keeper; `now` is its clock.

    It closes its files once nobody uses it any more.
    """

    def __init__(
        self, folder: Path, rotation: RotationPolicy | None = None, key: CheckpointKey = KEY
    ) -> None:
        self.folder, self.state, self.key, self.clock = folder, folder.parent, key, Clock()
        self.rotation = rotation or RotationPolicy(bytes_max=2000)
        self.numbers = 0
        self._opened: list[AuditWriter | CheckpointKeeper] = []
        weakref.finalize(self, _close, self._opened)
        self.writers = [self.writer(f"worker-{at}") for at in range(2)]
        self.keeper = self.start()

    @property
    def now(self) -> datetime:
        return self.clock.now

    @now.setter
    def now(self, value: datetime) -> None:
        self.clock.now = value

    def writer(self, name: str) -> AuditWriter:
        writer = AuditWriter(
            self.folder, name, self.rotation, reserved_bytes=0,
            now_ns=self.clock.read_ns,
        )  # fmt: skip
        self._opened.append(writer)
        # A thread could be late by what this clock takes for minutes.
        writer._next._run = lambda work: work()  # type: ignore[method-assign,assignment]
        return writer

    def start(self) -> CheckpointKeeper:
        keeper = CheckpointKeeper(self.folder, self.state, self.key, "gw-1", now=self.clock.read)
        self._opened.append(keeper)
        return keeper

    def write(self, count: int = 5) -> None:
        for writer in self.writers:
            lines = [b'{"number":%d,"text":"%b"}\n' % (self.numbers + at, b"x" * 80)
                     for at in range(count)]  # fmt: skip
            self.numbers += count
            assert writer.write_lines(lines)

    def rotate(self) -> None:
        for writer in self.writers:
            writer._rotate()

    def pass_time(self, seconds: float = 70.0) -> None:
        self.now += timedelta(seconds=seconds)

    def take(self) -> None:
        self.keeper.take()
        self.pass_time()

    def kill(self, at: int) -> None:
        """Have a process lose its locks, as SIGKILL does, and start another one."""
        os.close(self.writers[at]._descriptor)
        self.writers[at]._descriptor = -1
        self.writers[at] = self.writer(f"worker-{at}")

    def end(self) -> None:
        for writer in self.writers:
            writer.close()
        self.pass_time()
        self.keeper.take()
        self.keeper.close()


def _close(opened: list[AuditWriter | CheckpointKeeper]) -> None:
    """Close what one machine has opened; its folder may be gone."""
    for each in opened:
        with suppress(OSError):
            each.close()


def verified(
    folder: Path, *, is_pruned: bool = False, known: Path | None = None
) -> VerificationReport:
    """Verify a folder as if it were the folder that is `known` in the state folder."""
    newest = newest_checkpoint(folder.parent, known or folder)
    held = [HeldCheckpoint("its state folder", *newest)] if newest is not None else []
    return verify(folder, {KEY.public}, held, is_pruned=is_pruned)


def kinds(folder: Path, *, is_pruned: bool = False) -> set[FindingKind]:
    return {each.kind for each in verified(folder, is_pruned=is_pruned).findings}
