"""What came of the restart and of the second act: their figures and promises. Pure."""

from collections.abc import Iterator

import msgspec

from crewgate import limits
from crewgate.core.credits import MICRO, parse_credits
from crewgate.demo.agents import Said
from crewgate.demo.border import LEAVING, STAYING, Crossed
from crewgate.demo.restart import Restarted
from crewgate.demo.story import RESEARCHER, Seen


class Border(msgspec.Struct, frozen=True):
    """Crew BD at Finance's tools. `copied` and `token_after`: status and slug of refusals."""

    admitted: int  # calls of the orchestrator that left, over its certificate
    copied: str  # its token alone, at the agents' listener
    dropped: str  # its token alone, at the crews' listener: the alert
    closed_ms: float  # from the agent's reading of the request to the end of its stream
    command_ms: float
    after: str  # its certificate afterwards: the alert
    token_after: str
    others_calls: int
    others_failed: int


class Restart(msgspec.Struct, frozen=True):
    """The researcher after the gateway was started again, by the ledger and by its own answer."""

    spent_credits: float
    again: str


def kept_border(crossed: Crossed, border: Border) -> Iterator[tuple[bool, str]]:
    """What was promised of the border."""
    yield border.admitted > 0, "bd-1 was not served over its certificate"
    yield (
        border.copied == "401 binding-mismatch" and border.dropped == "certificate required",
        f"the copied token was answered {border.copied} and {border.dropped}",
    )
    yield (
        crossed.decommissioned.connections_closed > 0
        and border.closed_ms <= limits.demo_cut_ms_max,
        f"the connection of bd-1 was closed after {border.closed_ms} ms",
    )
    yield (
        border.after == "certificate revoked" and border.token_after == "401 branch-revoked",
        f"after its end bd-1 was answered {border.after} and {border.token_after}",
    )
    yield (
        border.others_failed == 0 and border.others_calls >= limits.demo_border_calls,
        f"{border.others_failed} of {border.others_calls} calls of bd-2 failed",
    )


def kept_budgets(seen: Seen, restarted: Restarted, restart: Restart) -> Iterator[tuple[bool, str]]:
    """What was promised of the restart."""
    yield (
        restart.spent_credits == parse_credits(RESEARCHER.credits) / MICRO
        and restart.again == "403 credits-exhausted",
        f"after a restart the researcher had spent {restart.spent_credits}: {restart.again}",
    )
    missing = [role for role, branch in seen.branches.items() if branch not in restarted.after]
    less = [key for key, was in restarted.before.items() if restarted.after.get(key, 0) < was]
    yield (
        not missing and not less,
        f"a restart reset the budgets of {', '.join([*missing, *less])}",
    )


def at_the_border(crossed: Crossed) -> Border:
    """Its figures."""
    left, stayed = crossed.said[LEAVING], crossed.said[STAYING]
    ended = max((one.at_ns for one in left if one.what == "ended"), default=0)
    calls = [one for one in stayed if one.what == "call"]
    return Border(
        admitted=sum(one.admitted for one in left if one.what in {"call", "opened"}),
        copied=_told(crossed.copied),
        dropped=crossed.dropped,
        closed_ms=round((ended - crossed.decommissioned.read_ns) / 1e6, 2),
        command_ms=round(crossed.command_ms, 1),
        after=crossed.after,
        token_after=_told(crossed.token_after),
        others_calls=len(calls),
        others_failed=sum(not one.admitted for one in calls),
    )


def after_the_restart(seen: Seen, restarted: Restarted) -> Restart:
    """Its figures."""
    spent = restarted.after.get(seen.branches[RESEARCHER.role], 0)
    return Restart(spent / MICRO, _told(restarted.again))


def _told(one: Said) -> str:
    return f"{one.status} {one.reason}".strip()
