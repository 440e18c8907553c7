"""The output about the machines of a cluster: a table of members, and the state of this one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from crewgate.core.terminal_text import printable
from crewgate.ipc.cluster_messages import MachineClusterStatus, MemberRow, QuorumSyncState

_STATES = {"here": "this machine"}
_STANDINGS = {
    "counts": "yes",
    "joining": "not yet: joining",
    "waiting": "no: waiting to be accepted",
    "leaving": "until a majority agrees to evict it",
    "evicted": "no: it was evicted",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def show_members(rows: list[MemberRow]) -> None:
    """Print a table with a row for each machine."""
    from crewgate.cli.output.tables import open_console, print_table, table_of

    columns: dict[str, Callable[[MemberRow], str]] = {
        "name": lambda row: row.name,
        "address": lambda row: row.address or "unknown",
        "state": lambda row: _STATES.get(row.state, row.state),
        "counts": lambda row: _STANDINGS.get(row.standing, row.standing),
        "compared": _compared,
        "certificate ends (UTC)": _ends,
        "may revoke": lambda row: "yes" if row.may_revoke else "no",
    }
    print_table(open_console(), table_of(columns, rows))


def _ends(row: MemberRow) -> str:
    return f"{datetime.fromtimestamp(row.ends, UTC):%Y-%m-%d %H:%M}" if row.ends else "unknown"


def as_document(row: MemberRow) -> dict[str, Any]:
    """Return a row for JSON."""
    document: dict[str, Any] = msgspec.to_builtins(row)
    ends = datetime.fromtimestamp(document.pop("ends"), UTC)
    return document | {"not_after": ends.isoformat().replace("+00:00", "Z") if row.ends else ""}


def _compared(row: MemberRow) -> str:
    if row.state == "here":
        return "–"
    return "never" if row.compared_seconds is None else f"{ago(row.compared_seconds)} ago"


def ago(seconds: float) -> str:
    """Return a duration for people, in seconds, minutes, hours or days."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    for unit, name in ((_DAY, "d"), (_HOUR, "h")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / _MINUTE:.0f} min"


def sync_line(sync: QuorumSyncState) -> str:
    """Return how many machines there are, and with how many this one has compared."""
    others = sync.members - 1
    if not others:
        unreached = ", ".join(sync.unreached)
        return f"this machine alone{f'; no peer could be joined: {unreached}' if unreached else ''}"
    each = "other" if others == 1 else "others"
    line = f"{sync.members} machines; compared with {sync.compared} of {others} {each}"
    if sync.ago_seconds is not None:
        line += f", {ago(sync.ago_seconds)} ago"
    return f"{line}; {_need(sync)}"


def _need(sync: QuorumSyncState) -> str:
    if not sync.needed:
        return "none is needed"
    if sync.synced_seconds is None:
        return "none is needed until the other has joined"
    return f"{sync.needed} {'is' if sync.needed == 1 else 'are'} needed"


def status_lines(status: MachineClusterStatus) -> Iterator[str]:
    """Yield the lines of `crewgate cluster status`."""
    sync = status.in_touch
    if status.waiting_for:
        yield f"calls          refused: waiting for {status.waiting_for}"
    elif sync.synced_seconds is None:
        yield "calls          accepted without a time limit: this machine needs no other"
    else:
        left = ago(sync.synced_seconds)
        yield f"calls          accepted for {left} more; each comparison renews this time"
    yield f"machine        {printable(status.name)}"
    yield f"members        {sync_line(sync)}"
    yield f"quorum         {_quorum(sync)}, within {status.max_staleness_seconds:g} s"
    log = "" if status.log_complete else "; the log on disk is incomplete: see the log of the agent"
    yield f"revocations    {status.capsules} signed by members{log}"
    yield f"keys           {_keys(status)}"
    yield f"clock          {_clock(status.clock_ahead_seconds)}"
    refused = ", ".join(f"{number} {why}" for why, number in sorted(status.refused.items()))
    yield (
        f"datagrams      {status.received} received, {status.sent} sent, "
        f"refused: {refused or 'none'}"
    )


def _quorum(sync: QuorumSyncState) -> str:
    if sync.quorum == "any":
        return "any other machine; none if there are only two"
    return "a majority of the members"


def _keys(status: MachineClusterStatus) -> str:
    if status.newest_key_seconds is None or status.next_key_seconds is None:
        return "none yet: this machine has met no other"
    due = max(0.0, status.next_key_seconds)
    return (
        f"{status.keys}, the newest from {ago(max(0.0, status.newest_key_seconds))} ago; "
        f"the next is due in {ago(due)}"
    )


def _clock(ahead: float) -> str:
    """Describe our clock; `ahead` is by how many seconds the others' median is ahead of it."""
    if abs(ahead) < 1:
        return "equal to the others' median"
    return f"{abs(ahead):g} s {'behind' if ahead > 0 else 'ahead of'} the others' median"
