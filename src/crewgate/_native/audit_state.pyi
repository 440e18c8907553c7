"""Keeps whether a process may admit calls, where compiled code reads it for each call."""

class AuditWriterState:
    """The state of an `AuditWriter`. `writable`: whether it can write records."""

    writable: bool

class AuditRecorderState:
    """The base of `AuditRecorder`: the `state` of its present writer, and its policy.

    With `refuses_when_full`, calls are refused while the audit cannot be written.
    """

    state: AuditWriterState
    refuses_when_full: bool

    def ready(self) -> bool:
        """Return False if calls must be refused because they could not be recorded."""
