"""The worker's gate, and what may change its mind: credit that is drawn, a policy that is loaded.

One draw a branch is under way at a time; whoever needs the same branch's credit waits for it and
asks the gate again. No event loop ever waits inside a draw (design/table.md).
"""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from crewgate._native.gate import Gate
from crewgate._native.permit import Permit
from crewgate._native.table import Table
from crewgate.core.grant import Grant
from crewgate.core.policy import Policy
from crewgate.core.verdict import Denial, Reason
from crewgate.link.messages import Drawn

Drawer = Callable[[Grant, int], Awaitable[Drawn | None]]


class _Draw:
    """A draw under way: what it asks for, and how it ended."""

    __slots__ = ("answered", "done", "grant", "granted", "need")

    def __init__(self, grant: Grant, need: int) -> None:
        self.grant = grant
        self.need = need
        self.answered = False  # stays so if whoever asked was cancelled
        self.granted = False
        self.done = trio.Event()

    def speaks_for(self, grant: Grant, need: int) -> bool:
        """Return whether the same question would have had the same answer."""
        return self.answered and self.need == need and self.grant is grant


class GateJudge:
    """Judges by a table and a policy, both of which may be replaced."""

    def __init__(self, table: Table, attachment: int, policy: Policy, drawer: Drawer) -> None:
        self.table = table
        self.policy = policy
        self._attachment = attachment
        self._drawer = drawer
        self._gate = Gate(table, attachment)
        self._gate.load(policy)
        self._draws: dict[bytes, _Draw] = {}
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
        loose: bool = False,
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
            loose=loose,
        )
        if isinstance(verdict, Denial) and verdict.reason is Reason.CREDITS_EXHAUSTED:
            return msgspec.structs.replace(verdict, need=self._need(tool, price))
        return verdict

    def _need(self, tool: int, price: int) -> int:
        return self.policy.tools[tool].price if price < 0 else price

    async def relieve(self, denial: Denial, tool: int, price: int = -1) -> bool:
        """Work on what a denial with `retry` is about; False if asking again at once is in vain."""
        if denial.grant is None:
            if self.table.policy_generation == self.policy.generation:
                return False  # the table is stale: only the agent can mend that
            await self._renewed.wait()
            return True
        if not 0 <= tool < len(self.policy.tools):
            return False
        return await self._draw(denial.grant, self._need(tool, price))

    async def draw(self, grant: Grant, need: int) -> Drawn | None:
        """Draw for a call under way: how that ended, None while the agent is away."""
        return await self._drawer(grant, need)

    async def _draw(self, grant: Grant, need: int) -> bool:
        """Draw, or wait for the draw that is under way; another question's answer is not ours."""
        key = grant.branch_key
        under_way = self._draws.get(key)
        if under_way is not None:
            await under_way.done.wait()
            return under_way.granted or not under_way.speaks_for(grant, need)
        draw = self._draws[key] = _Draw(grant, need)
        try:
            drawn = await self._drawer(grant, need)
            draw.granted = drawn is not None and drawn.status == "granted"
            draw.answered = True
        finally:
            del self._draws[key]
            draw.done.set()
        return draw.granted
