"""The recorder of a process: whether it admits calls."""

from pathlib import Path

from crewgate.audit.recorder import AuditRecorder
from crewgate.audit.writer import AuditWriter


def test_calls_are_admitted_by_the_present_writer_and_policy(tmp_path: Path) -> None:
    """If the writer cannot write, the policy decides. A reload replaces both."""
    first, second = AuditWriter(tmp_path / "first", "worker"), AuditWriter(tmp_path / "second", "w")
    recorder = AuditRecorder(first)
    assert recorder.ready()
    first.state.writable = False
    assert not recorder.ready()
    assert recorder.move(second, refuses_when_full=True) is first
    assert recorder.ready()
    second.state.writable = False
    assert not recorder.ready()
    recorder.move(second, refuses_when_full=False)
    assert recorder.ready()
    first.close()
    recorder.close()
