"""The worker's gate, and what may change its verdict: a draw of credit, or a new policy.

At most one draw per branch is under way. Other calls that need credit of that branch wait for it,
then ask the gate again. A draw leaves at the end of the turn, and states what the other calls of
that turn need. A draw never blocks the event loop.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec
import trio

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.presenter import Presenter
from crewgate._native.table import Table
from crewgate.core.budget.denial_reset_time import explained
from crewgate.core.policy.policy import Policy
from crewgate.core.reasons import Reason
from crewgate.core.rules.rule import StepFinding
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import DRAW_REASONS, FINAL_REASONS, Denial
from crewgate.gateway.call.call_digests import CallDigests
from crewgate.ipc.attach_messages import CreditDrawn

# The arguments are as for `note_step` of `Gate`.
StepCallback = Callable[[Grant, StepFinding, bytes, str, bool], object]
DrawCallback = Callable[[CreditDrawn | None], None]  # None: the agent did not answer
AtEnd = Callable[[Callable[[], None]], None]


class RequestDraw(Protocol):
    """How a worker asks its agent for credit."""

    def __call__(self, grant: Grant, need: int, answered: DrawCallback, *, behind: int = 0) -> None:
        """Draw `need` micro-credits, and `behind` more if they are free; see `AgentConnection`."""


class _Draw:
    """A draw of `need` micro-credits that is under way, and whether it was granted.

    The other calls that wait for it need `behind` micro-credits.
    """

    __slots__ = ("behind", "done", "grant", "granted", "need")

    def __init__(self, grant: Grant, need: int) -> None:
        self.grant = grant
        self.need = need
        self.behind = 0
        self.granted = False
        self.done = trio.Event()

    def answer(self, drawn: CreditDrawn | None) -> None:
        """Note the answer of the agent, and wake all who wait for it."""
        self.granted = drawn is not None and drawn.status == "granted"
        self.done.set()


class RetryCondition:
    """Something under way that may change a denial: a draw of credit, or a new policy."""

    __slots__ = ("_changes", "_event")

    def __init__(self, event: trio.Event | None, changes: Callable[[], bool]) -> None:
        self._event = event
        self._changes = changes

    async def wait(self) -> bool:
        """Wait until it is over; False if the gate would deny again. The caller sets a deadline."""
        if self._event is not None:
            await self._event.wait()
        return self._changes()


class GateAuthorizer:
    """Authorizes calls by a table and a policy, both of which may be replaced."""

    def __init__(
        self,
        table: Table,
        attachment: int,
        policy: Policy,
        ask: RequestDraw,
        wall: Callable[[], float] = time.time,
        at_end: AtEnd = lambda work: work(),
        note_grant: Callable[[Grant], bool] | None = None,
        note_step: StepCallback | None = None,
    ) -> None:
        """`wall` is the clock in seconds since the epoch.

        `at_end` does work at the end of the turn; its default does the work at once. `note_grant`
        and `note_step` are as for `Gate`.
        """
        self.table = table
        self.policy = policy
        self._attachment = attachment
        self._ask = ask
        self._wall = wall
        self._at_end = at_end
        self._make_gate = partial(Gate, note_grant=note_grant, note_step=note_step)
        self.gate = self._make_gate(table, attachment)
        self.gate.load(policy)
        self.digests = CallDigests(policy.loops)
        self._draws: dict[bytes, _Draw] = {}
        self._unopened: dict[bytes, Reason] = {}  # by branch: why its last draw did not open it
        self._uncounted: dict[bytes, int] = {}  # refused calls by branch, of those without a record
        self._policy_loaded = trio.Event()

    def move(self, table: Table, attachment: int) -> None:
        """Use another table, or another number in the same one.

        The agent burns what the calls in flight had reserved under the old number, and revocations
        do not reach it any more. So the permits of these calls are made to trust no key.
        """
        self.gate.holder.load(msgspec.structs.replace(self.policy, keys=()))
        self.table, self._attachment = table, attachment
        self.gate = self._make_gate(table, attachment)
        self.load(self.policy)

    def load(self, policy: Policy) -> None:
        """Use another policy, and wake the calls that wait for one."""
        self.policy = policy
        self.digests = CallDigests(policy.loops)
        self.gate.load(policy)
        self._policy_loaded.set()
        self._policy_loaded = trio.Event()

    def decide(  # noqa: PLR0913 - all that a verdict depends on
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        presenter: Presenter | None = None,
        observe: bool = False,
        drawn: bool = False,
        price: int = -1,
        is_upper_bound: bool = False,
        name: str | None = None,
        counts: bool = True,
        call: int = 0,
    ) -> Permit | Denial:
        """Return the gate's verdict at once. A permit has reserved its price, in micro-credits.

        `price` is the call's own price, -1 for the tool's. `is_upper_bound`: most of the price may
        come back. `drawn`: credit has been drawn for this call before. `name` is what the call uses
        at an endpoint, if `tool` is the endpoint's number. `counts`: the limits on calls apply.
        `call` is the digest of the call for the rules on branches. If credit is exhausted, the
        denial says how much the call needs.
        """
        verdict = self.gate.decide(
            token,
            tool,
            request=request,
            presenter=presenter,
            observe=observe,
            drawn=drawn,
            price=price,
            is_upper_bound=is_upper_bound,
            name=name,
            counts=counts,
            call=call,
        )
        if isinstance(verdict, Denial) and verdict.reason is Reason.CREDITS_EXHAUSTED:
            return self.explained(verdict)
        return self._after_draw(verdict) if drawn else verdict

    def grant_for(self, token: bytes, tool: int, presenter: Presenter | None) -> Grant | None:
        """Return the grant of a token if a free call of the tool would be permitted."""
        return self.gate.grant_for(token, tool, presenter=presenter)

    def _after_draw(self, verdict: Permit | Denial) -> Permit | Denial:
        """Return the verdict; if the gate lacks credit, with why the last draw did not get any."""
        why = self._unopened.get(verdict.grant.branch_key) if verdict.grant is not None else None
        if why is None or verdict.grant is None:
            return verdict
        found = verdict.reason if isinstance(verdict, Denial) else verdict.observed_reason
        if found is not Reason.BUDGET_UNAVAILABLE:
            return verdict
        if isinstance(verdict, Permit):
            verdict.release()
        return Denial(why, verdict.grant, retry=why not in FINAL_REASONS)

    def note_uncounted(self, grant: Grant) -> None:
        """Note a refused call of a branch without a record, in which rules would count it.

        Such a branch has had no call permitted. After a few refused ones, have the agent open it.
        """
        count = self._uncounted.get(grant.branch_key, 0) + 1
        if len(self._uncounted) >= limits.unopened_branches_max:
            self._uncounted.clear()
        self._uncounted[grant.branch_key] = count
        if count % limits.rule_open_again_calls == limits.rule_uncounted_max:
            self._draw(grant, 0)

    def explained(self, denial: Denial) -> Denial:
        """Return the denial with the allowance window that is spent, if it renews by itself."""
        return explained(denial, self._wall())

    def _note(self, branch: bytes, drawn: CreditDrawn | None) -> None:
        """Remember why a branch was not opened; the oldest is dropped if there are too many."""
        self._unopened.pop(branch, None)
        why = DRAW_REASONS.get(drawn.status) if drawn is not None else None
        if why is not None:
            if len(self._unopened) >= limits.unopened_branches_max:
                del self._unopened[next(iter(self._unopened))]
            self._unopened[branch] = why

    def _need(self, tool: int, price: int) -> int:
        return self.policy.tools[tool].price if price < 0 else price

    def relieve(self, denial: Denial, tool: int, price: int = -1) -> RetryCondition:
        """Start what may change a denial with `retry`: a draw, or the load of a new policy."""
        if denial.grant is None:
            if self.table.policy_generation == self.policy.generation:
                return _NONE  # the table is stale: only the agent can change that
            return RetryCondition(self._policy_loaded, lambda: True)
        if not 0 <= tool < len(self.policy.tools):
            return _NONE
        return self._draw(denial.grant, self._need(tool, price))

    async def draw(self, grant: Grant, need: int) -> CreditDrawn | None:
        """Draw credit for a call under way; None if the agent is unavailable."""
        answers: list[CreditDrawn | None] = []
        done = trio.Event()

        def answered(drawn: CreditDrawn | None) -> None:
            answers.append(drawn)
            done.set()

        self._ask(grant, need, answered)
        await done.wait()
        return answers[0]

    def _draw(self, grant: Grant, need: int) -> RetryCondition:
        """Draw credit for a branch, or wait for the draw that is under way.

        A refusal of that draw is final only for a call that asked for the same amount and grant.
        """
        key = grant.branch_key
        under_way = self._draws.get(key)
        if under_way is not None:
            under_way.behind += need
            is_same = under_way.need == need and under_way.grant is grant
            return RetryCondition(under_way.done, lambda: under_way.granted or not is_same)
        draw = self._draws[key] = _Draw(grant, need)

        def answered(drawn: CreditDrawn | None) -> None:
            del self._draws[key]
            self._note(key, drawn)
            draw.answer(drawn)

        def ask() -> None:
            self._ask(grant, need, answered, behind=min(draw.behind, limits.lease_micro_max))

        self._at_end(ask)
        return RetryCondition(draw.done, lambda: draw.granted)


_NONE = RetryCondition(None, lambda: False)
