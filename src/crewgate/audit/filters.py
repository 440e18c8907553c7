"""What may be asked of the audit: filters, a grouping, and how far back; pure values.

Knows no SQL; texts go to the engine as parameters, and what is made of names is an enumeration.
"""

import enum
import re
from datetime import UTC, datetime, timedelta

import msgspec

from crewgate import limits
from crewgate.core.ids import uuid_bytes
from crewgate.core.policy.scope import is_pattern, is_tool_name
from crewgate.core.x509.certificate import serial_text

_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_SERIAL = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*|[0-9A-Fa-f]+", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class GroupBy(enum.StrEnum):
    """What calls can be summed up by."""

    BRANCH = "branch"
    CREW = "crew"
    ROLE = "role"
    TOOL = "tool"
    DAY = "day"  # of UTC, in which the call ended


class AuditFilter(msgspec.Struct, frozen=True):
    """Filters, all of which must hold; the default asks for everything.

    `branch` also finds what that branch spawned; `tool` is a name or a pattern such as
    `sql.*`; `certificate` is the serial of the connection's, as the log has it (`parse_serial`);
    `limit` bounds the newest rows that a listing shows.
    """

    branch: str | None = None
    crew: str | None = None
    role: str | None = None
    tool: str | None = None
    certificate: str | None = None
    denied: bool = False
    would_deny: bool = False
    since: datetime | None = None
    limit: int = limits.audit_rows_default

    def __post_init__(self) -> None:
        """ValueError for what no branch or tool can be called, or a limit out of bounds."""
        if self.branch is not None:
            try:
                uuid_bytes(self.branch)
            except ValueError as error:
                raise ValueError(f"not a branch id: {error}") from error
        if self.tool is not None and not (is_tool_name(self.tool) or is_pattern(self.tool)):
            raise ValueError(
                f"not a tool name or pattern: {self.tool[:64]!r}; write search.web or 'search.*'"
            )
        if not 0 <= self.limit <= limits.audit_rows_max:
            raise ValueError(f"{self.limit} rows; at most {limits.audit_rows_max} can be listed")

    @property
    def tool_prefix(self) -> str | None:
        """`sql.` for the pattern `sql.*`; None for a name or no filter."""
        return self.tool[:-1] if self.tool is not None and self.tool.endswith(".*") else None


def parse_serial(text: str) -> str:
    """A certificate's serial number as the log has it: upper-case hexadecimal, whole octets.

    Takes it as OpenSSL writes it, with or without colons. ValueError for what is none.
    """
    if len(text) > limits.claim_chars_max or not _SERIAL.fullmatch(text):
        raise ValueError(
            f"not a serial number: {text[:64]!r}; write it in hexadecimal, as `crewgate ca list` "
            "shows it"
        )
    return serial_text(int(text.replace(":", ""), 16))


def parse_since(text: str, now: datetime) -> datetime:
    """The moment that `10m`, `2h`, `1d` (before `now`) or an RFC 3339 time names, in UTC.

    ValueError says how to write it; a time without an offset is refused, as RFC 3339 has none.
    """
    mend = f"not a time: {text[:64]!r}; write 30s, 10m, 2h, 1d or 2026-11-24T12:00:00Z"
    try:
        if match := _DURATION.fullmatch(text):
            return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(mend) from error
    if moment.tzinfo is None:
        raise ValueError(mend)
    return moment.astimezone(UTC)
