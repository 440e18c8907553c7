"""Finds the records of the last calls of workers that have died.

A worker writes the records of some calls at once, and settles the calls after that. If it dies in
between, their reservations are burned, although their records say what the calls cost.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.audit import folder as audit_folder

_WORKER = "worker-"


class _Call(msgspec.Struct, frozen=True, gc=False):
    """The members of a record that say which call it is about, and what the call cost."""

    kind: str
    request: str = ""
    cost_micro: int = 0


_decode = msgspec.json.Decoder(_Call).decode


def recorded_costs(folder: Path, requests: Collection[str], since_ns: int) -> dict[str, int]:
    """Return the cost of each of the `requests` that has a record, in micro-credits.

    It reads the ends of the workers' files that were written since `since_ns` (wall clock): what a
    worker writes at once. A file that cannot be read counts as one without these records.
    """
    found = {}
    for path in audit_folder.files(folder):
        if audit_folder.process_of(path).startswith(_WORKER):
            for call in _last_calls(path, since_ns):
                if call.request in requests:
                    found[call.request] = call.cost_micro
    return found


def _last_calls(path: Path, since_ns: int) -> Iterator[_Call]:
    try:
        if path.stat().st_mtime_ns < since_ns:
            return
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limits.audit_last_bytes))
            lines = file.read(limits.audit_last_bytes).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = _decode(line)
        except msgspec.DecodeError:
            continue  # the first line is cut, or the last one of a killed worker
        if record.kind == "call":
            yield record
