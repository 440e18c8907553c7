"""The same promises with a real kernel: a SIGKILL in the middle, a file system with no room."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import on_a_small_disk, why_no_small_disk

from crewgate.audit.folder import files
from crewgate.core.audit.json_line import decode

KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.core.audit.records import ServiceEvent
writer = AuditWriter(Path(sys.argv[1]), "w", RotationPolicy(bytes_max=65536), reserved_bytes=0)
number = 0
while True:
    writer.write(ServiceEvent(time=datetime.now(UTC), event="test", detail="x" * 300, count=number))
    if number % 100 == 0:
        print(number, flush=True)
    number += 1
"""

LIMITED = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import ServiceEvent
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer = AuditWriter(Path(sys.argv[1]), "w", reserved_bytes=0)
event = lambda text: ServiceEvent(time=datetime.now(UTC), event="test", detail=text)
texts = [str(number) for number in range(40)]
kept = writer.write_many(map(event, texts))
print(kept, writer.written, writer.lost, writer.writable)
writer._next._run = lambda work: work()
writer.tick()
print(writer.write(event("after")), writer.writable)
"""


FULL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from crewgate.audit.writer import AuditWriter
from crewgate.core.audit.records import ServiceEvent
folder = Path(sys.argv[1])
(folder / "filler").write_bytes(bytes(300_000))
event = lambda number: ServiceEvent(
    time=datetime.now(UTC), event="test", detail="x" * 500, count=number
)
writer = AuditWriter(folder / "audit", "w", reserved_bytes=65536)
number = 0
while writer.writable:
    writer.write(event(number))
    number += 1
print(writer.lost, flush=True)
while writer.write(event(number)):
    number += 1
print(number, writer.lost, flush=True)
(folder / "filler").unlink()
writer._next._run = lambda work: work()
writer.tick()
print(writer.writable, writer.write(event(number)), flush=True)
for path in (folder / "audit").iterdir():
    sys.stderr.write(path.read_text())
"""


def test_a_sigkill_loses_no_record_that_was_reported(tmp_path: Path) -> None:
    """After a kill at any moment every line but the last is whole, and none is missing."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The next file may be there already: a thread opens it before the one before is full.
    paths = [path for path in files(tmp_path) if path.stat().st_size]
    counts = []
    for path in paths:
        *lines, last = path.read_bytes().split(b"\n")
        counts += [decode(line).count for line in lines]
        assert last == b"" or path == paths[-1]
    assert counts == list(range(len(counts)))
    assert len(counts) > reported


def test_a_write_that_the_kernel_cuts_short_leaves_whole_records(tmp_path: Path) -> None:
    """At a limit inside a line: the whole lines are kept, the others counted, the next readable."""
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    first, second = answer.stdout.splitlines()
    kept, written, lost, writable = first.split()
    assert (kept, writable) == ("False", "False")
    assert int(written) + int(lost) == 40
    assert second == "True True"
    cut, fresh = files(tmp_path)
    assert cut.stat().st_size == 1000
    *whole, _torn = cut.read_bytes().split(b"\n")
    assert [decode(line).detail for line in whole] == [str(n) for n in range(int(written))]
    recovered, after = [decode(line) for line in fresh.read_bytes().splitlines()]
    assert (recovered.event, recovered.count) == ("audit-recovered", int(lost))
    assert after.detail == "after"


@pytest.mark.skipif(bool(why_no_small_disk()), reason=why_no_small_disk())
def test_a_real_disk_fills_and_empties(tmp_path: Path) -> None:
    """The ballast takes the records of calls in flight; then one is lost, counted, and told."""
    answer = on_a_small_disk(tmp_path, FULL)
    first, second, third = answer.stdout.splitlines()
    assert first == "0"  # refusing new calls began before anything was lost
    number, lost = map(int, second.split())
    assert lost == 1
    assert third == "True True"
    assert "No space left on device" in answer.stderr
    whole = [line for line in answer.stderr.splitlines() if '"test"' in line and line[-1] == "}"]
    assert sorted(decode(line.encode()).count for line in whole) == list(range(number + 1))
    assert '"event":"audit-recovered","count":1' in answer.stderr
