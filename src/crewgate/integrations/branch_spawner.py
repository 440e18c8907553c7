"""Spawns and ends the branches of sub-agents, within the allowances of their roles.

This module knows no framework.
"""

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import msgspec

from crewgate import limits
from crewgate.core.credits import format_credits
from crewgate.errors import BranchRevokedError, CrewgateError, IssuerError, ServiceConnectionError
from crewgate.integrations.sub_agent_branch import SubAgentBranch, position
from crewgate.issuer import SubAgent
from crewgate.issuer.parameters import amount, tool_list

_log = logging.getLogger(__name__)
_NOT_IN_A_ROLE = re.compile(r"[^A-Za-z0-9._:/@-]+")


class RoleAllowance(msgspec.Struct, frozen=True, kw_only=True):
    """The credits and tools of each sub-agent of one role.

    Attributes:
        credits: The most that it may spend, with all below it, as decimal text: `"2.50"`.
        tools: Names and patterns of tools; None is all tools of its parent.
    """

    credits: str
    tools: Sequence[str] | None = None


class BranchSpawner:
    """Makes a branch for each sub-agent, below the branch of the code that starts it.

    Use it as a context manager, or call `close`. A hook such as `TokenAuth(spawner)` presents the
    token of the branch of the running code; outside of all sub-agents it has no token. Threads may
    share a spawner. Methods that mint or revoke can wait for the disk and the gateway, as those of
    `Orchestrator` do.

    Args:
        run: The branch above all others. The spawner does not end it.
        credits: The most that a sub-agent may spend, with all below it, as decimal text. A
            sub-agent never gets more than its parent has in all.
        tools: The tools of a sub-agent; None is all tools of its parent.
        roles: The allowances of roles that differ from `credits` and `tools`.
        overcommit: Whether the sub-agents of one parent together may hold more credits than the
            parent has left. The gateways stop all of them at the parent's credits. If this is
            False, the calls of a sub-agent whose credits do not fit fail. `remote_orchestrator`
            needs False.

    Raises:
        IssuerError: An amount or a list of tools is malformed.
    """

    def __init__(
        self,
        run: SubAgent,
        *,
        credits: str,  # noqa: A002 - the field's word
        tools: Sequence[str] | None = None,
        roles: Mapping[str, RoleAllowance] | None = None,
        overcommit: bool = True,
    ) -> None:
        self._run, self._overcommit = run, overcommit
        self._default = RoleAllowance(credits=credits, tools=tools)
        self._roles = dict(roles or {})
        for allowance in (self._default, *self._roles.values()):
            amount(allowance.credits)
            tool_list(allowance.tools or ())
        self._root = SubAgentBranch(run.role, None, lambda _: run, lambda _: None)
        self._lock, self._is_closed = threading.Lock(), False
        self._live: dict[str, SubAgent] = {}
        self._unrevoked: OrderedDict[str, SubAgent] = OrderedDict()
        self._callbacks: list[Callable[[SubAgent], None]] = []

    def __repr__(self) -> str:
        return f"<BranchSpawner of {self._run!r} with {len(self._live)} live branches>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def run(self) -> SubAgent:
        """The branch above all others."""
        return self._run

    @property
    def root(self) -> SubAgentBranch:
        """The run in the form of a branch that never ends, for code that runs as the run itself."""
        return self._root

    @property
    def is_outside(self) -> bool:
        """Whether the code runs outside of all sub-agents."""
        return self._innermost() is None

    @property
    def current(self) -> SubAgentBranch:
        """The branch of the running code.

        Raises:
            IssuerError: The code runs outside of all sub-agents, for example in a thread that did
                not copy the context.
        """
        branch = self._innermost()
        if branch is None:
            raise IssuerError(
                "no sub-agent runs here, so there is no branch: copy the context into threads, and "
                "let the program itself call with its own branch (`run`)"
            )
        return branch

    @property
    def current_or_root(self) -> SubAgentBranch:
        """The branch of the running code, or the root outside of all sub-agents."""
        return self._innermost() or self._root

    def branch(self, role: str, parent: SubAgentBranch | None = None) -> SubAgentBranch:
        """Make the branch of a sub-agent that starts; nothing is minted before its first call.

        Write `with spawner.branch("researcher"):` around the sub-agent, or `async with`.

        Args:
            role: The name of the sub-agent in its framework. In the role of the token, a dash
                replaces each text that no token can hold.
            parent: The branch above; None is the branch of the running code, or the run outside of
                all sub-agents.
        """
        above = parent or self.current_or_root
        return SubAgentBranch(role, above, self._spawn, self._end)

    def token(self) -> str:
        """Return the token for the next request of the running code; see `SubAgent.token`.

        Raises:
            IssuerError: As for `current` and `SubAgentBranch.token`.
        """
        return self.current.token()

    def has_fresh_token(self) -> bool:
        """Return whether `token` returns or raises at once."""
        branch = self._innermost()
        return branch is None or branch.has_fresh_token()

    def before_end(self, callback: Callable[[SubAgent], None]) -> Callable[[], None]:
        """Call `callback` with each branch that ends, while its token is still valid.

        The function must return soon, and raise nothing. Return a function that takes this back.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def close(self) -> None:
        """End all sub-agents that still have a branch; no other one gets a branch."""
        with self._lock:
            self._is_closed = True
            live = [*self._live.values()]
        for agent in live:
            self._finish(agent)
        self._revoke_ended()

    def _innermost(self) -> SubAgentBranch | None:
        """Return the branch of the innermost position that belongs to this spawner."""
        found = position()
        while found is not None and not self._is_own(found.branch):
            found = found.outer
        return found.branch if found is not None else None

    def _is_own(self, branch: SubAgentBranch) -> bool:
        while branch.parent is not None:
            branch = branch.parent
        return branch is self._root

    def _spawn(self, branch: SubAgentBranch) -> SubAgent:
        """Spawn the branch of a sub-agent, and before that those above it.

        Raises:
            BranchRevokedError: The parent, or a branch above it, was revoked.
            ScopeError: The parent does not have these tools, or its credits do not suffice.
            JournalError, IssuerError: As for `Orchestrator.spawn`, or the spawner was closed.
        """
        if self._is_closed:
            raise IssuerError("the BranchSpawner was closed, so no sub-agent gets a branch")
        above = (branch.parent or self._root).agent
        allowance, claims = self._roles.get(branch.role, self._default), above.claims
        agent = above.spawn(
            role=_role(branch.role),
            tools=claims.allowed_tools if allowance.tools is None else allowance.tools,
            credits=format_credits(min(amount(allowance.credits), claims.credit_quota)),
            overcommit=self._overcommit,
            reason="the first call of a sub-agent",
        )
        with self._lock:
            self._live[agent.branch] = agent
        return agent

    def _end(self, agent: SubAgent) -> None:
        """Revoke the branch of a sub-agent that has ended; raise no error.

        If the gateway does not answer, the branch gets no further token, and the end of the next
        branch tries again.
        """
        self._finish(agent)
        self._revoke_ended()

    def _finish(self, agent: SubAgent) -> None:
        with self._lock:
            if self._live.pop(agent.branch, None) is None:
                return
        for callback in tuple(self._callbacks):
            callback(agent)
        if _is_revoked(agent):
            return
        with self._lock:
            self._unrevoked[agent.branch] = agent
            while len(self._unrevoked) > limits.ended_branches_max:
                self._unrevoked.popitem(last=False)

    def _revoke_ended(self) -> None:
        with self._lock:
            ended = [*reversed(self._unrevoked.values())]
        for agent in ended:
            try:
                agent.revoke(reason="the sub-agent ended")
            except ServiceConnectionError as error:
                _log.warning(
                    "branch %s has ended and gets no further token, but its last token stays "
                    "valid until it expires, or until the gateway answers: %s",
                    agent.branch,
                    error,
                )
                return
            except CrewgateError as error:
                _log.warning("branch %s has ended, but: %s", agent.branch, error)
            with self._lock:
                self._unrevoked.pop(agent.branch, None)


def _role(name: str) -> str:
    return _NOT_IN_A_ROLE.sub("-", name).strip("-")[: limits.claim_chars_max] or "agent"


def _is_revoked(agent: SubAgent) -> bool:
    """Return whether the branch was revoked already, for example with its parent."""
    try:
        agent.claims  # noqa: B018 - raises if the branch was revoked
    except BranchRevokedError:
        return True
    except IssuerError:  # the orchestrator has forgotten the branch
        pass
    return False
