"""What it costs to sign the audit: the agent's work for each line, beside the worker's own.

In a folder in memory, so that no disk is measured.
"""

import tempfile
from pathlib import Path

from bench.sampling import Case, Group, measure
from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.writer import AuditWriter, RotationPolicy

WRITTEN = "write an audit line, 16 at once"
SIGNED = "sign an audit line, 8,192 in a checkpoint"
LINE = b'{"kind":"call",' + b"x" * 664 + b"}\n"  # as long as that of a usual call
_AT_ONCE, _LINES = 16, 8192
_MEMORY = Path("/dev/shm")


def signed(rounds: int) -> Group:
    """One process writes, and the keeper signs."""
    place = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name) / "audit"
        rotation = RotationPolicy(2**23, folder_bytes_max=2**25, sync="never")
        writer = AuditWriter(folder, "worker-0", rotation, reserved_bytes=0)
        keeper = CheckpointKeeper(folder, folder.parent, CheckpointKey(bytes(32)))

        def write() -> int:
            for _ in range(_LINES // _AT_ONCE):
                writer.write_lines([LINE] * _AT_ONCE)
            return _LINES

        def write_for_sign() -> None:
            keeper.take()  # what the other case has written
            write()

        def sign() -> int:
            keeper.take()
            return _LINES

        cases = [Case(WRITTEN, write), Case(SIGNED, sign, write_for_sign)]
        try:
            return measure("The audit", cases, rounds, WRITTEN)
        finally:
            writer.close()
            keeper.close()
