"""Decides whether a crew's limits, and the end of a branch, allow a further grant.

The limits are about the whole life of a branch: how many further tokens, how long after the end of
its first token, how many credits beyond those of its first token. The module reads no clock.
"""

import time
from typing import NamedTuple

from crewgate.core.credits import format_credits
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ExtensionRefusedError
from crewgate.issuer.branches.branch_issuer import GrantChange
from crewgate.issuer.branches.branch_tree import IssuedBranch
from crewgate.issuer.journal.journal_entries import POLICY, new_tools


class ExtensionTerms(NamedTuple):
    """What a further grant may be.

    Attributes:
        quota: The micro-credits of the branch in all.
        tools: Its tools.
        ends_at: When the branch ends from then on, in wall-clock seconds; None is no such time.
        exp_max: When its token ends at the latest; None is no such time.
    """

    quota: int
    tools: list[str]
    ends_at: int | None
    exp_max: int | None


class ExtensionLimits:
    """The limits of `crew`; None if a gateway knows them, and decides."""

    def __init__(self, crew: CrewPolicy | None) -> None:
        self._crew = crew or CrewPolicy("", "")

    def is_renewable(self, branch: IssuedBranch) -> bool:
        """Return whether the branch can have a token that ends later than its newest one."""
        longest = _earliest(branch.ends_at, self._longest(branch))
        most = self._crew.extensions_max
        return (longest is None or branch.claims.exp < longest) and (
            most is None or branch.extensions < most
        )

    def terms(self, branch: IssuedBranch, change: GrantChange, now: float) -> ExtensionTerms:
        """Return what a further grant with this change may be.

        Raises:
            ExtensionRefusedError: The limits or the end of the branch do not allow it.
        """
        claims = branch.claims
        name, most = claims.execution_branch_id, self._crew.extensions_max
        if most is not None and branch.extensions >= most:
            raise ExtensionRefusedError(
                f"branch {name} has had {branch.extensions} tokens after its first, and "
                f"extensions_max of crew {claims.crew} is {most}"
            )
        quota = (claims.credit_quota if change.quota is None else change.quota) + change.more_quota
        tools = claims.allowed_tools if change.tools is None else change.tools
        tools = [*tools, *(tool for tool in change.more_tools if tool not in tools)]
        if change.decided_by == POLICY and not change.way.is_automatic:
            self._check_policy_decides(claims, quota, tools, change.seconds)
        self._check_credits(branch, quota)
        longest = self._longest(branch)
        ends_at = branch.ends_at
        if change.seconds:
            wanted = int(max(ends_at or claims.exp, now)) + change.seconds
            if longest is not None and wanted > longest:
                raise ExtensionRefusedError(
                    f"branch {name} may live until {_text(longest)}, because its first token ended "
                    f"at {_text(branch.first_exp)}, and extension_seconds_max of crew "
                    f"{claims.crew} is {self._crew.extension_seconds_max}"
                )
            ends_at = None if ends_at is None else wanted
        exp_max = _earliest(ends_at, longest)
        if exp_max is not None and exp_max <= now:
            raise ExtensionRefusedError(
                f"branch {name} ended at {_text(exp_max)}: "
                + (
                    "request an extension, or spawn another branch"
                    if exp_max != longest
                    else f"extension_seconds_max of crew {claims.crew} allows no more; spawn "
                    "another branch"
                )
            )
        return ExtensionTerms(quota, tools, ends_at, exp_max)

    def _longest(self, branch: IssuedBranch) -> int | None:
        most = self._crew.extension_seconds_max
        return None if most is None else branch.first_exp + most

    def _check_credits(self, branch: IssuedBranch, quota: int) -> None:
        most, claims = self._crew.extension_micro_max, branch.claims
        if most is None or quota <= max(claims.credit_quota, branch.first_quota + most):
            return
        raise ExtensionRefusedError(
            f"branch {claims.execution_branch_id} began with {format_credits(branch.first_quota)} "
            f"credits and cannot have {format_credits(quota)}: extension_credits_max of crew "
            f"{claims.crew} is {format_credits(most)}"
        )

    def _check_policy_decides(
        self, claims: Claims, quota: int, tools: list[str], seconds: int | None
    ) -> None:
        """Refuse a sub-agent's request that no limit of the crew allows.

        Without a limit, the orchestrator itself may grant all. A request that no code of the
        orchestrator decides must not have that freedom.
        """
        if new_tools(claims, tools):
            raise ExtensionRefusedError(
                "the limits of a crew add no tools: the orchestrator needs a callback (`decide`)"
            )
        for wanted, limit, key in (
            (seconds, self._crew.extension_seconds_max, "extension_seconds_max"),
            (
                quota > claims.credit_quota,
                self._crew.extension_micro_max,
                "extension_credits_max",
            ),
        ):
            if wanted and limit is None:
                raise ExtensionRefusedError(
                    f"the orchestrator has no callback that decides (`decide`), and crew "
                    f"{self._crew.name} has no {key}: set one of them"
                )


def _earliest(*times: int | None) -> int | None:
    return min((each for each in times if each is not None), default=None)


def _text(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
