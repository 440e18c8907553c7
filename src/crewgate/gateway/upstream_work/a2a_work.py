"""Enters the tasks that one A2A call has begun at its agent into the registry of the worker."""

import time

from crewgate._native.permit import Permit
from crewgate.core.a2a.cancellation import task_cancellation
from crewgate.core.a2a.methods import Binding, Version
from crewgate.core.sealed_ids import IdKind
from crewgate.gateway.upstream_work.registry import (
    UpstreamWork,
    WorkKey,
    WorkRegistry,
    expires_at,
)
from crewgate.upstream.buffered_request import OwnRequest


class A2AWork:
    """The tasks of one call; a `TaskObserver`.

    `endpoint` is the name under which the canceller finds the server. `interface` is the path
    before those of the binding there, which is the whole path for JSON-RPC. `tenant` is the agent's
    that the call names.
    """

    def __init__(
        self,
        registry: WorkRegistry,
        permit: Permit,
        endpoint: str,
        interface: bytes,
        binding: Binding,
        version: Version,
        tenant: str = "",
    ) -> None:
        self._registry = registry
        self._permit = permit
        self._endpoint = endpoint
        self._interface = interface
        self._binding = binding
        self._version = version
        self._tenant = tenant

    def task_runs(self, task: str) -> None:
        """Remember a task, to cancel it if the branch is revoked."""
        path, fields, body = task_cancellation(task, self._binding, self._version, self._tenant)
        request = OwnRequest(b"POST", self._interface + path.encode(), fields, body)
        expires = expires_at(time.monotonic(), None)
        self._registry.add(UpstreamWork(self._key(task), self._permit, request, expires))

    def task_ended(self, task: str) -> None:
        """Forget a task."""
        self._registry.remove(self._key(task))

    def _key(self, task: str) -> WorkKey:
        return WorkKey(self._permit.grant.branch_key, self._endpoint, IdKind.A2A_TASK, task)
