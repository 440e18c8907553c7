"""The worker's gate, and what may change its mind: credit that is drawn, a policy that is loaded.

One draw a branch is under way at a time; whoever needs the same branch's credit waits for it and
asks the gate again. No event loop ever waits inside a draw.
"""

import time
from collections.abc import Callable

import msgspec
import trio

from crewgate import limits
from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.budget.window_reset import explained
from crewgate.core.policy.policy import Policy
from crewgate.core.problem_types import Reason
from crewgate.core.tokens.grant import Grant
from crewgate.core.verdict import DRAW_REASONS, FINAL_REASONS, Denial
from crewgate.gateway.call.interfaces import DrawCallback
from crewgate.ipc.attach_messages import CreditDrawn

RequestDraw = Callable[[Grant, int, DrawCallback], None]


class _Draw:
    """A draw under way: what it asks for, and how it ended."""

    __slots__ = ("done", "grant", "granted", "need")

    def __init__(self, grant: Grant, need: int) -> None:
        self.grant = grant
        self.need = need
        self.granted = False
        self.done = trio.Event()

    def answer(self, drawn: CreditDrawn | None) -> None:
        """Whoever waits hears how it ended."""
        self.granted = drawn is not None and drawn.status == "granted"
        self.done.set()


class DrawOrReload:
    """A `RetryCondition`: an event to wait for, then whether the gate may decide otherwise."""

    __slots__ = ("_changes", "_event")

    def __init__(self, event: trio.Event | None, changes: Callable[[], bool]) -> None:
        self._event = event
        self._changes = changes

    async def wait(self) -> bool:
        """Until it is over; False if asking the gate again is in vain."""
        if self._event is not None:
            await self._event.wait()
        return self._changes()


class GateAuthorizer:
    """Judges by a table and a policy, both of which may be replaced."""

    def __init__(
        self,
        table: Table,
        attachment: int,
        policy: Policy,
        ask: RequestDraw,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` is the clock in seconds since the epoch."""
        self.table = table
        self.policy = policy
        self._attachment = attachment
        self._ask = ask
        self._wall = wall
        self._gate = Gate(table, attachment)
        self._gate.load(policy)
        self._draws: dict[bytes, _Draw] = {}
        self._unopened: dict[bytes, Reason] = {}  # branches, and why their last draw opened none
        self._renewed = trio.Event()

    def move(self, table: Table, attachment: int) -> None:
        """Judge by another table, or under another number of the same one.

        What the calls in flight had reserved is burned with the place that is left, and nobody
        hears of revocations there: their permits are told that no key is trusted any more.
        """
        self._gate.holder.load(msgspec.structs.replace(self.policy, keys=()))
        self.table, self._attachment = table, attachment
        self._gate = Gate(table, attachment)
        self.load(self.policy)

    def load(self, policy: Policy) -> None:
        """Judge by another policy."""
        self.policy = policy
        self._gate.load(policy)
        self._renewed.set()
        self._renewed = trio.Event()

    def decide(
        self,
        token: bytes,
        tool: int,
        *,
        request: bytes = b"",
        peer_crew: str | None = None,
        observe: bool = False,
        drawn: bool = False,
        price: int = -1,
        is_upper_bound: bool = False,
    ) -> Permit | Denial:
        """Return the gate's verdict; one that credit is spent says how much was needed."""
        verdict = self._gate.decide(
            token,
            tool,
            request=request,
            peer_crew=peer_crew,
            observe=observe,
            drawn=drawn,
            price=price,
            is_upper_bound=is_upper_bound,
        )
        if isinstance(verdict, Denial) and verdict.reason is Reason.CREDITS_EXHAUSTED:
            need = self._need(tool, price)
            return self.explained(msgspec.structs.replace(verdict, need_micro=need))
        return self._after_draw(verdict) if drawn else verdict

    def _after_draw(self, verdict: Permit | Denial) -> Permit | Denial:
        """The verdict with what the branch's last draw found out, where the gate lacks credit."""
        why = self._unopened.get(verdict.grant.branch_key) if verdict.grant is not None else None
        if why is None or verdict.grant is None:
            return verdict
        is_final = why in FINAL_REASONS
        if isinstance(verdict, Denial):
            if verdict.reason is not Reason.BUDGET_UNAVAILABLE:
                return verdict
            return msgspec.structs.replace(verdict, reason=why, retry=not is_final)
        if verdict.observed_reason is not Reason.BUDGET_UNAVAILABLE or not is_final:
            return verdict
        verdict.release()
        return Denial(why, verdict.grant)

    def explained(self, denial: Denial) -> Denial:
        """The same with the window that is spent, if credits come back by themselves."""
        return explained(denial, self._wall())

    def _note(self, branch: bytes, drawn: CreditDrawn | None) -> None:
        """Remember which branches were not opened, the latest of very many."""
        self._unopened.pop(branch, None)
        why = DRAW_REASONS.get(drawn.status) if drawn is not None else None
        if why is not None:
            if len(self._unopened) >= limits.unopened_branches_max:
                del self._unopened[next(iter(self._unopened))]
            self._unopened[branch] = why

    def _need(self, tool: int, price: int) -> int:
        return self.policy.tools[tool].price if price < 0 else price

    def relieve(self, denial: Denial, tool: int, price: int = -1) -> DrawOrReload:
        """Begin to work on what a denial with `retry` is about."""
        if denial.grant is None:
            if self.table.policy_generation == self.policy.generation:
                return _NONE  # the table is stale: only the agent can mend that
            return DrawOrReload(self._renewed, lambda: True)
        if not 0 <= tool < len(self.policy.tools):
            return _NONE
        return self._draw(denial.grant, self._need(tool, price))

    async def draw(self, grant: Grant, need: int) -> CreditDrawn | None:
        """Draw for a call under way: how that ended, None while the agent is away."""
        answers: list[CreditDrawn | None] = []
        done = trio.Event()

        def answered(drawn: CreditDrawn | None) -> None:
            answers.append(drawn)
            done.set()

        self._ask(grant, need, answered)
        await done.wait()
        return answers[0]

    def _draw(self, grant: Grant, need: int) -> DrawOrReload:
        """Draw, or wait for the draw that is under way; another question's answer is not ours."""
        key = grant.branch_key
        under_way = self._draws.get(key)
        if under_way is not None:
            speaks = under_way.need == need and under_way.grant is grant
            return DrawOrReload(under_way.done, lambda: under_way.granted or not speaks)
        draw = self._draws[key] = _Draw(grant, need)

        def answered(drawn: CreditDrawn | None) -> None:
            del self._draws[key]
            self._note(key, drawn)
            draw.answer(drawn)

        self._ask(grant, need, answered)
        return DrawOrReload(draw.done, lambda: draw.granted)


_NONE = DrawOrReload(None, lambda: False)
