"""The filters and groupings of a query to the audit, and the parsers of their texts.

This module makes no SQL. A text from a person reaches the engine only as a parameter, and every
name in a statement comes from an enumeration.
"""

import enum
import re
from datetime import UTC, datetime, timedelta

import msgspec

from crewgate import limits
from crewgate.core.branch_reference import is_beginning
from crewgate.core.ids import uuid_bytes
from crewgate.core.policy.scope import is_pattern, is_tool_name
from crewgate.core.tokens.claims import is_text
from crewgate.core.x509.certificate import serial_text

_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_SERIAL = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*|[0-9A-Fa-f]+", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class GroupBy(enum.StrEnum):
    """The key by which calls are summed up; `DAY` and `MINUTE` are of UTC, when a call ended."""

    BRANCH = "branch"
    CREW = "crew"
    ROLE = "role"
    TOOL = "tool"
    DAY = "day"
    MINUTE = "minute"

    @property
    def is_time(self) -> bool:
        """Whether sums are listed in the order of their keys, and the newest are kept."""
        return self in {GroupBy.DAY, GroupBy.MINUTE}


class AuditFilter(msgspec.Struct, frozen=True):
    """Filters, all of which must match; the default matches everything.

    `branch` also matches the branches below it. `tool` is a name or a pattern such as `sql.*`.
    `certificate` is the serial of the connection's certificate, as `parse_serial` returns it.
    `grant`, `subject`, `process`, `orchestrator` and `request` are as the records have them;
    `request` may be the beginning of an id. A listing has the newest `limit` rows.
    """

    branch: str | None = None
    crew: str | None = None
    role: str | None = None
    tool: str | None = None
    certificate: str | None = None
    grant: str | None = None
    subject: str | None = None
    process: str | None = None
    orchestrator: str | None = None
    request: str | None = None
    denied: bool = False
    would_deny: bool = False
    since: datetime | None = None
    limit: int = limits.audit_rows_default

    def __post_init__(self) -> None:
        """Raise ValueError for a malformed id, name or tool, or a limit out of bounds."""
        if self.branch is not None:
            try:
                uuid_bytes(self.branch)
            except ValueError as error:
                raise ValueError(f"not a branch id: {error}") from error
        if self.tool is not None and not (is_tool_name(self.tool) or is_pattern(self.tool)):
            raise ValueError(
                f"not a tool name or pattern: {self.tool[:64]!r}; write search.web or 'search.*'"
            )
        for name in ("grant", "subject", "process", "orchestrator", "request"):
            text = getattr(self, name)
            if text is not None and not is_text(text):
                raise ValueError(
                    f"not a {name}: {text[:64]!r}; it has characters of A-Z a-z 0-9 . _ : / @ -"
                )
        if not 0 <= self.limit <= limits.audit_rows_max:
            raise ValueError(f"{self.limit} rows: 0 to {limits.audit_rows_max} can be listed")

    @property
    def tool_prefix(self) -> str | None:
        """The beginning of names that a pattern matches: `sql.` for `sql.*`; None for a name."""
        return self.tool[:-1] if self.tool is not None and self.tool.endswith(".*") else None

    @property
    def request_beginning(self) -> str | None:
        """The beginning of request ids that match; None if `request` is a whole id."""
        is_part = self.request is not None and is_beginning(self.request)
        return self.request if is_part else None


def parse_serial(text: str) -> str:
    """Convert a certificate's serial number to upper-case hexadecimal with whole octets.

    `text` is hexadecimal as OpenSSL writes it, with or without colons; anything else raises
    ValueError.
    """
    if len(text) > limits.claim_chars_max or not _SERIAL.fullmatch(text):
        raise ValueError(
            f"not a serial number: {text[:64]!r}; write it in hexadecimal, as `crewgate ca list` "
            "shows it"
        )
    return serial_text(int(text.replace(":", ""), 16))


def parse_since(text: str, now: datetime) -> datetime:
    """Return the moment in UTC that `10m`, `2h`, `1d` (before `now`) or an RFC 3339 time names.

    Raises ValueError for other texts. RFC 3339 requires an offset, so a time without one is
    refused.
    """
    message = f"not a time: {text[:64]!r}; write 30s, 10m, 2h, 1d or 2026-11-24T12:00:00Z"
    try:
        if match := _DURATION.fullmatch(text):
            return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
        moment = datetime.fromisoformat(text)
        found = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(message) from error
    if moment.tzinfo is None:
        raise ValueError(message)
    return found
