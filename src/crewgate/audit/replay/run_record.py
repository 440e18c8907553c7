"""What a replay reads of a line of the audit: which run it is about, and what it changes."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.audit.query_results import Moment
from crewgate.audit.replay.question import RunLife
from crewgate.core.audit.records import EPOCH, microseconds

# A browser counts exactly up to this number.
_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_LAST_US = microseconds(datetime.max.replace(tzinfo=UTC))


class RunRecord(msgspec.Struct, frozen=True, gc=False):
    """The members of all kinds of records that a replay needs; see `core.audit.records`."""

    kind: str
    time: Moment
    crew: str = ""
    orchestrator: str = ""
    process: str = ""
    role: str = ""
    branch: str = ""
    ancestry: Annotated[tuple[str, ...], Meta(max_length=limits.depth_max)] = ()
    grant: str = ""
    subject: str = ""
    request: str = ""
    tool: str = ""
    method: str = ""
    verdict: str = ""
    outcome: str = ""
    reason: str = ""
    would: str = ""
    certificate: str = ""
    cost_micro: _Count = 0
    quota_micro: _Count = 0
    duration_us: _Count = 0
    status: _Count = 0
    started: Moment | None = None
    cause: str = ""
    kid: str = ""
    tools: tuple[str, ...] = ()
    issued: Annotated[datetime, Meta(tz=True)] = EPOCH
    expires: Annotated[datetime, Meta(tz=True)] = EPOCH
    target: str = ""
    id: str = ""
    by: str = ""
    cuts: _Count = 0
    rule: str = ""
    rule_kind: str = ""
    step: str = ""
    mode: str = ""
    count: _Count = 0
    limit: _Count = 0
    caller: str = ""
    was: str = ""
    level: str = ""
    in_force: str = ""
    measure: str = ""
    value: _Count = 0

    @property
    def path(self) -> tuple[str, ...]:
        """The ids of the branches from the run down to the branch itself; none if none is known."""
        return (*self.ancestry, self.branch) if self.branch else ()

    @property
    def named(self) -> dict[str, str]:
        """What it names that a revocation can be about, by the kind of the revocation.

        A revocation names its target, which need not be what the run itself names.
        """
        if self.kind == "revocation":
            return {}
        found = {
            "branch": self.branch, "grant": self.grant, "process": self.process,
            "orchestrator": self.orchestrator, "subject": self.subject, "key": self.kid,
            "certificate": self.certificate,
        }  # fmt: skip
        return {kind: name for kind, name in found.items() if name}

    @property
    def begin_us(self) -> int:
        """When what it is about began, in microseconds since 1970."""
        return microseconds(self.time if self.started is None else self.started)

    @property
    def life(self) -> RunLife:
        """From when to when the run could call, as far as this record says."""
        if self.kind != "grant":
            return self.begin_us, self.moment_us
        return (
            min(self.begin_us, microseconds(self.issued)),
            max(self.begin_us, microseconds(self.expires)),
        )

    @property
    def moment_us(self) -> int:
        """When it took effect, in microseconds since 1970: for a call, when the call ended."""
        return microseconds(self.time) + (self.duration_us if self.kind == "call" else 0)


_decode = msgspec.json.Decoder(RunRecord).decode


def read(line: bytes) -> RunRecord | None:
    """Return the record of a line; None if it is none. The gateway writes ASCII only."""
    if not line.isascii():
        return None
    try:
        record = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return record if record.moment_us <= _LAST_US else None
