"""The other machines as a person reads of them: rows, and how this one stands.

Decides words; asks nobody.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crewgate.core.terminal_text import printable

if TYPE_CHECKING:
    from crewgate.ipc.cluster_messages import ClusterStatus, MemberRow, SyncState

_STATES = {"here": "this machine"}
_STANDINGS = {
    "counts": "yes",
    "joining": "not yet: joining",
    "waiting": "no: waits to be admitted",
    "leaving": "until a majority agrees that it goes",
    "evicted": "no: it was evicted",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def show_members(rows: "list[MemberRow]") -> None:
    """One row a machine."""
    from crewgate.cli.output.tables import cells, new_table, open_console, print_table

    table = new_table(
        "name", "address", "state", "counts", "compared", "certificate ends (UTC)", "may revoke"
    )
    for row in rows:
        ends = f"{datetime.fromtimestamp(row.ends, UTC):%Y-%m-%d %H:%M}" if row.ends else "unknown"
        table.add_row(
            *cells(
                row.name,
                row.address or "unknown",
                _STATES.get(row.state, row.state),
                _STANDINGS.get(row.standing, row.standing),
                _compared(row),
                ends,
                "yes" if row.may_revoke else "no",
            )
        )
    print_table(open_console(), table)


def as_document(row: "MemberRow") -> dict[str, Any]:
    """The same for a program."""
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(row)
    ends = datetime.fromtimestamp(document.pop("ends"), UTC)
    return document | {"not_after": ends.isoformat().replace("+00:00", "Z") if row.ends else ""}


def _compared(row: "MemberRow") -> str:
    if row.state == "here":
        return "–"
    return "never" if row.compared_seconds is None else f"{ago(row.compared_seconds)} ago"


def ago(seconds: float) -> str:
    """A time that has passed or is to pass, as exact as anybody wants it."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    for unit, name in ((_DAY, "d"), (_HOUR, "h")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / _MINUTE:.0f} min"


def touch_line(touch: "SyncState") -> str:
    """Of how many machines, and how far they have been compared with."""
    others = touch.members - 1
    if not others:
        unreached = ", ".join(touch.unreached)
        return f"this machine alone{f'; no peer could be joined: {unreached}' if unreached else ''}"
    each = "other" if others == 1 else "others"
    line = f"{touch.members} machines; compared with {touch.compared} of {others} {each}"
    if touch.ago_seconds is not None:
        line += f", {ago(touch.ago_seconds)} ago"
    return f"{line}; {_need(touch)}"


def _need(touch: "SyncState") -> str:
    if not touch.needed:
        return "none is needed"
    if touch.synced_seconds is None:
        return "none is needed until the other has joined"
    return f"{touch.needed} {'is' if touch.needed == 1 else 'are'} needed"


def status_lines(told: "ClusterStatus") -> Iterator[str]:
    """How this machine stands."""
    touch = told.in_touch
    if told.waiting_for:
        yield f"refuses        waiting for {told.waiting_for}"
    elif touch.synced_seconds is None:
        yield "admits         without an end: it needs no other"
    else:
        yield f"admits         for {ago(touch.synced_seconds)} more, unless it compares again"
    yield f"machine        {printable(told.name)}"
    yield f"members        {touch_line(touch)}"
    yield f"quorum         {_quorum(touch)}, within {told.max_staleness_seconds:g} s"
    log = (
        "" if told.log_complete else "; the log on the disk is incomplete, see what the agent says"
    )
    yield f"revocations    {told.capsules} signed by members{log}"
    yield f"keys           {_keys(told)}"
    yield f"clock          {_clock(told.clock_ahead_seconds)}"
    refused = ", ".join(f"{number} {why}" for why, number in sorted(told.refused.items()))
    yield (
        f"datagrams      {told.received} received, {told.sent} sent, refused: {refused or 'none'}"
    )


def _quorum(touch: "SyncState") -> str:
    if touch.quorum == "any":
        return "any other machine, and of two none"
    return "a majority of the members"


def _keys(told: "ClusterStatus") -> str:
    if told.newest_key_seconds is None or told.next_key_seconds is None:
        return "none yet: no other machine was met"
    due = max(0.0, told.next_key_seconds)
    return (
        f"{told.keys}, the newest made {ago(max(0.0, told.newest_key_seconds))} ago; "
        f"the next is due in {ago(due)}"
    )


def _clock(ahead: float) -> str:
    """`ahead`: the others' median, against ours."""
    if abs(ahead) < 1:
        return "as the others' have it"
    return f"{abs(ahead):g} s {'behind' if ahead > 0 else 'ahead of'} the others' median"
