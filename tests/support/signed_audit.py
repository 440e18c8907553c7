"""A machine whose audit is written and signed in one process, under a clock that tests set."""

import os
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


class Machine:
    """Two processes that write the audit, and the agent's keeper; `now` is its clock."""

    def __init__(
        self, folder: Path, rotation: RotationPolicy | None = None, key: CheckpointKey = KEY
    ) -> None:
        self.folder, self.state, self.now, self.key = folder, folder.parent, BEGIN, key
        self.rotation = rotation or RotationPolicy(bytes_max=2000)
        self.numbers = 0
        self.writers = [self.writer(f"worker-{at}") for at in range(2)]
        self.keeper = self.start()

    def writer(self, name: str) -> AuditWriter:
        writer = AuditWriter(
            self.folder, name, self.rotation, reserved_bytes=0,
            now_ns=lambda: int(self.now.timestamp() * 1e9),
        )  # fmt: skip
        # A thread could be late by what this clock takes for minutes.
        writer._next._run = lambda work: work()  # type: ignore[method-assign,assignment]
        return writer

    def start(self) -> CheckpointKeeper:
        return CheckpointKeeper(self.folder, self.state, self.key, "gw-1", now=lambda: self.now)

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


def verified(
    folder: Path, *, is_pruned: bool = False, known: Path | None = None
) -> VerificationReport:
    """Verify a folder as if it were the folder that is `known` in the state folder."""
    newest = newest_checkpoint(folder.parent, known or folder)
    held = [HeldCheckpoint("its state folder", *newest)] if newest is not None else []
    return verify(folder, {KEY.public}, held, is_pruned=is_pruned)


def kinds(folder: Path, *, is_pruned: bool = False) -> set[FindingKind]:
    return {each.kind for each in verified(folder, is_pruned=is_pruned).findings}
