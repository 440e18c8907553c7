"""Writes the audit line of a permitted call; the part that many calls share is encoded only once.

A line is byte for byte `core.audit.json_line.encode(core.audit.record_builder.permitted(...))`.
Numbers are signed 64-bit integers; larger ones raise OverflowError. An outcome or reason of another
type raises TypeError, and a request id that has neither 16 bytes nor none raises ValueError.
"""

from crewgate._native.metrics import CallBatch, CallSeries
from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.tokens.grant import Grant

class AuditLineTemplate:
    """Makes the lines of calls with the same grant, tool, method, listener and peer network.

    It uses only `listener`, `peer`, `tool` and `method` of `request`, and holds only the shared
    part of a line. Making it costs as much as encoding a record, so keep it.
    """

    def __init__(self, request: CallInfo, grant: Grant) -> None: ...
    def end(
        self,
        time_ns: int,
        identifier: bytes,
        outcome: CallOutcome,
        cost_micro: int,
        remaining_micro: int | None,
        duration_us: int,
        status: int,
        bytes_in: int,
        bytes_out: int,
        would: Reason | None = None,
        certificate: str = "",
        trace: str = "",
        call: int = 0,
        answer: int = 0,
        retry_seconds: int = 0,
        failed: bool = False,
    ) -> bytes:
        """Return the line of one call that has ended, with its newline. `call` and `answer` are
        digests for the rules on branches; 0 for none. `core.audit.records` explains the values:
        `time_ns`, `identifier`, `certificate` and `trace` in `CallInfo`, most others in `CallEnd`. ValueError if a certificate is not a serial in upper-case hexadecimal,
        or a trace has another character than a dash or a lower-case hexadecimal digit."""

    def count(
        self,
        calls: CallBatch,
        outcome: CallOutcome,
        status: int,
        line_bytes: int,
        arrived: int,
        started: int,
        sent: int,
        answered: int,
        ended: int,
        reserved: int,
        spent: int,
    ) -> bool:
        """Add a call that has ended to `calls`; False if its series are not those of `remember`.

        Times are of the monotonic clock, in nanoseconds; `answered` is 0 if no response came.
        Amounts are in micro-credits. ValueError if the batch is full.
        """

    def remember(self, series: CallSeries, outcome: CallOutcome, status: int) -> None:
        """Let `count` use `series` for calls with this outcome and status."""

class AuditLines:
    """A cache of at most `capacity` templates (`limits.call_lines_max`), each with its grant; a new
    one replaces the oldest."""

    def __init__(self, capacity: int = ...) -> None: ...
    def __len__(self) -> int: ...
    def line(self, request: CallInfo, grant: Grant) -> AuditLineTemplate:
        """Return the template of calls like this one. Grants are compared by identity."""

def request_text(identifier: bytes) -> bytes:
    """Return `core.audit.records.request_text` as ASCII bytes."""
