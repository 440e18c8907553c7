"""The audit's line of a permitted call: what many calls share is written once, the rest in C.

Byte for byte `core.line.encode(core.record.permitted(...))`. Numbers are signed 64-bit integers,
OverflowError beyond; TypeError for an outcome or reason of another kind; ValueError for a request
id that has neither 16 bytes nor none.
"""

from crewgate.core.audit.records import CallInfo, CallOutcome
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant

class AuditLineTemplate:
    """The lines of calls by one grant, for one tool and method, at one listener, from one network.

    Of `request` only `listener`, `peer`, `tool` and `method` count. Costs as much as encoding a
    record, so it is worth keeping; never holds more than the shared part of a line.
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
    ) -> bytes:
        """The line of one call that has ended, newline included; what the numbers mean says
        `core.record`: `time_ns`, `identifier` and `certificate` are its `CallInfo`'s, most others its
        `CallEnd`'s. ValueError for a certificate that is no serial in upper-case hexadecimal."""

class AuditLines:
    """The newest lines, at most `capacity` of them (`limits.call_lines_max`), each with its grant;
    the oldest makes room."""

    def __init__(self, capacity: int = ...) -> None: ...
    def __len__(self) -> int: ...
    def line(self, request: CallInfo, grant: Grant) -> AuditLineTemplate:
        """The line of calls like this one; grants are told apart by being the same object."""

def request_text(identifier: bytes) -> bytes:
    """`core.record.request_text` as ASCII bytes: UUID text, empty for no bytes or all zero."""
