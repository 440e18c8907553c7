"""Enters the tasks that one A2A call has begun at its agent into the registry of the worker."""

import itertools
import time
from typing import NamedTuple

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.core.a2a.agent_request import AgentRequest
from crewgate.core.a2a.cancellation import task_cancellation
from crewgate.core.a2a.methods import Binding, Version
from crewgate.core.a2a.task_search import list_request, running_tasks
from crewgate.core.sealed_ids import IdKind
from crewgate.gateway.upstream_work.registry import (
    UpstreamWork,
    WorkKey,
    WorkRegistry,
    expires_at,
)
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest

# Of the searches in this process; several calls may use one context at once.
_search_numbers = itertools.count()


class AgentInterface(NamedTuple):
    """How the agent is called.

    `endpoint` is the name under which the canceller finds the server. `path` is the path before
    those of the binding there, which is the whole path for JSON-RPC. `tenant` is the agent's that
    the call names.
    """

    endpoint: str
    path: bytes
    binding: Binding
    version: Version
    tenant: str = ""


class A2AWork:
    """The tasks of one call; a `TaskObserver`."""

    def __init__(self, registry: WorkRegistry, permit: Permit, interface: AgentInterface) -> None:
        self._registry = registry
        self._permit = permit
        self._interface = interface
        self._searched: WorkKey | None = None

    def message_goes(self, context: str) -> None:
        """Remember that a message is sent in a context, until its task shows."""
        self._searched = self._key(IdKind.A2A_CONTEXT, f"{context}/{next(_search_numbers)}")
        expires = expires_at(time.monotonic(), None)
        search = TaskSearch(self, context)
        self._registry.add(UpstreamWork(self._searched, self._permit, search, expires))

    def answered(self) -> None:
        """Forget the message: the agent has shown its task, or there is none."""
        if self._searched is not None:
            self._registry.remove(self._searched)
            self._searched = None

    def task_runs(self, task: str) -> None:
        """Remember a task, to cancel it if the branch is revoked."""
        self.answered()
        self._registry.add(self.running(task))

    def task_ended(self, task: str) -> None:
        """Forget a task."""
        self.answered()
        self._registry.remove(self._key(IdKind.A2A_TASK, task))

    def running(self, task: str) -> UpstreamWork:
        """Return a task as the registry remembers it."""
        _, _, binding, version, tenant = self._interface
        request = self._own_request(task_cancellation(task, binding, version, tenant))
        expires = expires_at(time.monotonic(), None)
        return UpstreamWork(self._key(IdKind.A2A_TASK, task), self._permit, request, expires)

    def list_request(self, context: str) -> OwnRequest:
        """Return the request for the newest tasks of a context."""
        return self._own_request(
            list_request(context, self._interface.binding, self._interface.tenant)
        )

    def running_in(self, context: str, response: BufferedResponse) -> list[UpstreamWork] | None:
        """Return the tasks of a context that go on; None if the agent has no task of it.

        Raises:
            A2AError: The list cannot be read.
        """
        tasks = running_tasks(context, self._interface.binding, response.body)
        return None if tasks is None else [*map(self.running, tasks)]

    def _own_request(self, request: AgentRequest) -> OwnRequest:
        method, below, fields, body = request
        return OwnRequest(method, self._interface.path + below.encode(), fields, body)

    def _key(self, kind: IdKind, work_id: str) -> WorkKey:
        return WorkKey(self._permit.grant.branch_key, self._interface.endpoint, kind, work_id)


class TaskSearch:
    """Finds the task of a message that has not shown it; a `WorkSearch`."""

    body_bytes_max = limits.a2a_search_bytes_max

    def __init__(self, work: A2AWork, context: str) -> None:
        self._work = work
        self._context = context

    def request(self) -> OwnRequest:
        """Return the request for a list of the context."""
        return self._work.list_request(self._context)

    def found(self, response: BufferedResponse) -> list[UpstreamWork] | None:
        """Return the tasks that go on; None if the agent has not begun one.

        Raises:
            A2AError: The list cannot be read.
        """
        return self._work.running_in(self._context, response)
