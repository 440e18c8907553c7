"""One line of the audit as the export sends it: its members, its time and a stable id.

The members are those of `core.audit.records`. They stay a dict here, so that a line of a later
version, with a kind or a member that this version does not know, is sent as well.
"""

from datetime import datetime
from typing import Any

import msgspec

from crewgate.core import trace_context
from crewgate.core.audit.records import EPOCH
from crewgate.core.trace_context import TraceContext

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_GOOD_OUTCOMES = {"done", "client-gone"}
_WARNING_PIN_EVENTS = {"new", "changed", "gone"}
_RULE_STEPS = {"warn": "warned", "refuse": "refused a call of", "end": "ended"}
_WARNING_KINDS = {"burned", "refusals", "watch", "revocation", "rule"}


class AuditEntry(msgspec.Struct, frozen=True):
    """A record, where it came from and when it happened.

    `uid` names the machine, the file and the offset of the line: the same at each attempt, so that
    a receiver can drop repeated records. `time_ns` is in nanoseconds since 1970. `trace` is the
    place of a call in a trace, if it has one.
    """

    uid: str
    time_ns: int
    record: dict[str, Any]
    line: bytes
    trace: TraceContext | None = None

    @property
    def kind(self) -> str:
        """The `kind` of the record, such as `call`."""
        return str(self.record["kind"])

    @property
    def has_span(self) -> bool:
        """Whether it is a call that has ended, of a sampled trace."""
        return self.trace is not None and self.trace.is_sampled and self.kind == "call"

    @property
    def error_type(self) -> str:
        """Why a call did not succeed, as one word; empty if it did."""
        record = self.record
        if record.get("verdict") == "deny":
            return str(record.get("reason") or "denied")
        outcome = str(record.get("outcome", "done"))
        if outcome not in _GOOD_OUTCOMES:
            return outcome
        status = record.get("status", 0)
        return str(status) if isinstance(status, int) and status >= 500 else ""  # noqa: PLR2004

    @property
    def is_warning(self) -> bool:
        """Whether a person may want to look at it."""
        if self.kind == "connection":
            return self.record.get("verdict") != "admitted"
        if self.kind == "mcp-pin":
            return self.record.get("event") in _WARNING_PIN_EVENTS
        return self.kind in _WARNING_KINDS or bool(self.error_type)

    @property
    def _only_observes(self) -> bool:
        """Whether a rule on branches says only what it would do."""
        return self.record.get("mode") == "observe" and self.record.get("step") != "warn"

    @property
    def summary(self) -> str:
        """A few words about the record."""
        record, kind = self.record, self.kind
        if kind == "event":
            return f"{record.get('event', '')}: {record.get('detail', '')}".rstrip(": ")
        if kind == "call":
            verdict = "denied" if record.get("verdict") == "deny" else record.get("outcome", "")
            return f"call of {record.get('tool') or 'no tool'}: {verdict}"
        if kind == "rule":
            step = str(record.get("step", ""))
            would = "would have " if self._only_observes else ""
            did = f"{would}{_RULE_STEPS.get(step, step)} branch {record.get('branch', '')}"
            return f"rule {record.get('rule', '')} {did} at {record.get('count', '')}"
        if kind == "grant":
            return f"grant of {record.get('branch', '')} to {record.get('role', '')}"
        words = (record.get(key, "") for key in ("tool", "target", "id", "reason", "step", "event"))
        return " ".join([kind, *(str(word) for word in words if word)])


def parse(line: bytes, file: str, offset: int) -> AuditEntry | None:
    """Return the entry of a line (without its newline) in `file`; None if it is no record."""
    try:
        record = _decode(line)
        moment = datetime.fromisoformat(record["time"]) - EPOCH
    except (msgspec.DecodeError, KeyError, RecursionError, TypeError, ValueError):
        return None
    if not isinstance(record.get("kind"), str):
        return None
    time_ns = (moment.days * 86_400 + moment.seconds) * 10**9 + moment.microseconds * 1000
    text = record.get("trace")
    trace = trace_context.parse(text) if isinstance(text, str) else None
    uid = f"{record.get('machine', '')}/{file}:{offset}"
    return AuditEntry(uid, time_ns, record, line, trace)
