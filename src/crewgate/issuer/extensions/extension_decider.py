"""Requests of sub-agents for an extension: more time, credits or tools, and who decides them.

The callback of the orchestrator decides, within the limits of the crew. Without a callback, the
limits decide alone. No thread holds the lock while the callback runs, so a callback may ask a
person.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from crewgate import limits
from crewgate.core.credits import format_credits
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ExtensionRefusedError, IssuerError, ScopeError
from crewgate.issuer.branches.branch_issuer import BranchIssuer, GrantChange
from crewgate.issuer.branches.branch_tree import IssuedBranch
from crewgate.issuer.branches.issued_branch_store import IssuedBranchStore
from crewgate.issuer.journal.journal_entries import CALLBACK, POLICY
from crewgate.issuer.parameters import journal_text

_log = logging.getLogger(__name__)
_TOO_OFTEN = (
    "the sub-agent asks too often: ask again later; further requests are refused without a line "
    "in the journal until then"
)


class ExtensionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a sub-agent asks for, as the callback of its orchestrator gets it.

    Attributes:
        claims: The newest claims of the branch: its id, role, tools, credits and end.
        more_seconds: Seconds by which the branch is to end later; 0 asks for no time.
        more_credits: Credits to add, as decimal text; "0.00" asks for none.
        more_tools: Names and patterns of tools to add.
        reason: Why; the sub-agent wrote it, so trust it no more than the sub-agent.
        extensions: How many tokens the branch has had after its first.
        ends_at: When the branch ends, in wall-clock seconds; None is no such time.
    """

    claims: Claims
    more_seconds: int
    more_credits: str
    more_tools: tuple[str, ...]
    reason: str
    extensions: int
    ends_at: int | None


class ExtensionDecision(msgspec.Struct, frozen=True):
    """Whether a request is granted, and a text for the sub-agent and the journal."""

    is_granted: bool
    answer: str = ""


Decide = Callable[[ExtensionRequest], bool | ExtensionDecision]


class ExtensionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a sub-agent gets for its request.

    Attributes:
        is_granted: Whether the branch has got what it asked for.
        decided_by: "callback" or "policy": the orchestrator's function, or the crew's limits.
        answer: What the one who decided says about it; never empty if the request is refused.
        expires: When the newest token of the branch ends, in wall-clock seconds.
        ends_at: When the branch ends; None is no such time.
        credits: The credits of the branch in all, as decimal text.
        tools: The tools of the branch.
    """

    is_granted: bool
    decided_by: str
    answer: str
    expires: int
    ends_at: int | None
    credits: str
    tools: list[str]


class ExtensionDecider:
    """Decides the requests about the branches in `state`, and lets `issuer` grant them."""

    def __init__(
        self, issuer: BranchIssuer, state: IssuedBranchStore, decide: Decide | None
    ) -> None:
        self._issuer, self._state, self._decide = issuer, state, decide
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._over_rate: set[str] = set()

    def decide(self, branch: str, wanted: GrantChange) -> ExtensionResult:
        """Decide a request; the journal has the request and the decision before this returns.

        Raises:
            BranchRevokedError: The branch was revoked.
            JournalError: The journal cannot be written; nothing was granted.
            ServiceConnectionError: The gateway cannot be reached.
            IssuerError: The branch is not known here, or the request is malformed.
        """
        if not (wanted.seconds or wanted.more_quota or wanted.more_tools):
            raise IssuerError("an extension: ask for more_seconds, more_credits or more_tools")
        with self._state.lock:
            known = self._state.branches.living(branch)
            is_first = branch not in self._over_rate
            is_over_rate = self._is_over_rate(branch)
        change = msgspec.structs.replace(wanted, decided_by=POLICY)
        if is_over_rate:
            return self._refuse(branch, change, _TOO_OFTEN, is_recorded=is_first)
        if self._decide is not None:
            change = msgspec.structs.replace(wanted, decided_by=CALLBACK)
            try:
                self._state.extension_limits.terms(known, change, self._state.clock())
            except ExtensionRefusedError as error:
                change = msgspec.structs.replace(wanted, decided_by=POLICY)
                return self._refuse(branch, change, str(error))
            decision = self._call(self._decide, known, change)
            if not decision.is_granted:
                return self._refuse(branch, change, decision.answer or "the orchestrator said no")
            change = msgspec.structs.replace(change, answer=journal_text(decision.answer))
        try:
            self._issuer.extend(branch, change)
        except (ExtensionRefusedError, ScopeError) as error:  # which the issuer has recorded
            change = msgspec.structs.replace(change, decided_by=POLICY, answer=str(error))
            return self._result(branch, change, is_granted=False)
        return self._result(branch, change, is_granted=True)

    def _call(self, decide: Decide, known: IssuedBranch, change: GrantChange) -> ExtensionDecision:
        """Return what the callback decides; if it raises or returns something else, refuse."""
        request = ExtensionRequest(
            claims=known.claims,
            more_seconds=change.seconds or 0,
            more_credits=format_credits(change.more_quota),
            more_tools=change.more_tools,
            reason=change.reason,
            extensions=known.extensions,
            ends_at=known.ends_at,
        )
        try:
            decision = decide(request)
        except Exception:  # noqa: BLE001 - a mistake of the program must not grant anything
            _log.exception(
                "branch %s: the callback `decide` failed", request.claims.execution_branch_id
            )
            return ExtensionDecision(is_granted=False, answer="the orchestrator could not decide")
        if isinstance(decision, ExtensionDecision):
            return decision
        return ExtensionDecision(is_granted=decision is True)

    def _is_over_rate(self, branch: str) -> bool:
        """Return whether a sub-agent asks too often; the caller holds the lock."""
        bucket = self._buckets.pop(branch, None)
        if bucket is None:
            bucket = TokenBucket(
                limits.extension_requests_per_second, limits.extension_requests_burst
            )
            if len(self._buckets) >= limits.token_buckets_max:
                self._over_rate.discard(self._buckets.popitem(last=False)[0])
        self._buckets[branch] = bucket
        if bucket.take(time.monotonic()):
            self._over_rate.discard(branch)
            return False
        self._over_rate.add(branch)
        return True

    def _refuse(
        self, branch: str, change: GrantChange, answer: str, *, is_recorded: bool = True
    ) -> ExtensionResult:
        change = msgspec.structs.replace(change, answer=journal_text(answer))
        if is_recorded:
            self._issuer.refuse(branch, change)
        return self._result(branch, change, is_granted=False)

    def _result(self, branch: str, change: GrantChange, *, is_granted: bool) -> ExtensionResult:
        with self._state.lock:
            known = self._state.branches.living(branch)
            claims = known.claims
            return ExtensionResult(
                is_granted=is_granted,
                decided_by=change.decided_by,
                answer=change.answer,
                expires=claims.exp,
                ends_at=known.ends_at,
                credits=format_credits(claims.credit_quota),
                tools=claims.allowed_tools,
            )
