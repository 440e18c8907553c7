"""The branch of one sub-agent, and the position of the running code among the branches.

A context variable has the branch of the running code. So threads and tasks that copy the context of
a sub-agent, as asyncio and the frameworks do, present the token of this sub-agent.
"""

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Self

from anyio import CancelScope, to_thread

from crewgate.errors import IssuerError
from crewgate.issuer import SubAgent


class SubAgentBranch:
    """The branch of one sub-agent, which gets its token with the first call; a source of tokens.

    Use it as `with` or `async with`: the code inside runs as the sub-agent, and the branch ends
    with the block. `BranchSpawner.branch` makes it. Threads may share it.

    Attributes:
        role: The name of the sub-agent in its framework.
        parent: The branch above; None is the run of the spawner.
    """

    __slots__ = ("_agent", "_end", "_is_over", "_lock", "_position", "_spawn", "parent", "role")

    def __init__(
        self,
        role: str,
        parent: "SubAgentBranch | None",
        spawn: Callable[["SubAgentBranch"], SubAgent],
        end: Callable[[SubAgent], None],
    ) -> None:
        self.role, self.parent = role, parent
        self._spawn, self._end = spawn, end
        self._lock = threading.Lock()
        self._agent: SubAgent | None = None
        self._is_over = False
        self._position: BranchPosition | None = None

    def __repr__(self) -> str:
        state = "ended" if self._is_over else "spawned" if self._agent else "not spawned yet"
        return f"<SubAgentBranch {self.role}, {state}>"

    def __enter__(self) -> Self:
        self._position = BranchPosition(self)
        self._position.enter()
        return self

    def __exit__(self, *raised: object) -> None:
        self._leave()
        self.end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        self._leave()
        with CancelScope(shield=True):
            await to_thread.run_sync(self.end)

    @property
    def is_spawned(self) -> bool:
        """Whether the branch has a token, so that `agent` returns at once."""
        return self._agent is not None

    @property
    def agent(self) -> SubAgent:
        """The handle of the branch; the first use spawns the branch, which can wait for a gateway.

        Raises:
            IssuerError: The sub-agent has ended; and the errors of `Orchestrator.spawn`.
        """
        with self._lock:
            if self._is_over:
                raise IssuerError(f"the sub-agent {self.role} has ended, so it gets no token")
            if self._agent is None:
                self._agent = self._spawn(self)
            return self._agent

    def token(self) -> str:
        """Return the token for the next request; see `SubAgent.token`.

        Raises:
            IssuerError: As for `agent` and `SubAgent.token`.
        """
        return self.agent.token()

    def has_fresh_token(self) -> bool:
        """Return whether `token` returns or raises at once."""
        agent = self._agent
        return self._is_over or (agent is not None and agent.has_fresh_token())

    def end(self) -> None:
        """Revoke the branch and all below it, if it was spawned; can wait for a gateway.

        The run of the spawner has no parent, and does not end.
        """
        if self.parent is None:
            return
        with self._lock:
            agent, is_first = self._agent, not self._is_over
            self._is_over = True
        if agent is not None and is_first:
            self._end(agent)

    def _leave(self) -> None:
        if self._position is not None:
            self._position.leave()


class BranchPosition:
    """Where the code of one context runs: an item of a linked list.

    Attributes:
        branch: The branch of the code; a framework may change it.
        outer: The position around this one, from `enter` on.
    """

    __slots__ = ("_token", "branch", "outer")

    def __init__(self, branch: SubAgentBranch) -> None:
        self.branch = branch
        self.outer: BranchPosition | None = None

    def enter(self) -> None:
        """Let the code that follows in this context, and the tasks that it starts, run here."""
        self.outer = position()
        self._token: Token[BranchPosition | None] = _position.set(self)

    def leave(self) -> None:
        """Take `enter` back in this context; tasks that were started meanwhile stay here."""
        _position.reset(self._token)


_position: ContextVar[BranchPosition | None] = ContextVar("crewgate_branch", default=None)


def position() -> BranchPosition | None:
    """Return the innermost position of the running code; None outside of all sub-agents."""
    return _position.get()
