"""Enters what one MCP call has begun or ended at its server into the registry of the worker."""

import time

from crewgate._native.permit import Permit
from crewgate.core.http_types import HeaderField
from crewgate.core.mcp.cancellation import session_fields, task_cancellation
from crewgate.core.mcp.methods import Revision
from crewgate.core.sealed_ids import IdKind
from crewgate.gateway.upstream_work.registry import (
    UpstreamWork,
    WorkKey,
    WorkRegistry,
    expires_at,
)
from crewgate.upstream.buffered_request import OwnRequest


class MCPWork:
    """The tasks and the session of one call; a `TaskObserver`.

    `target` is the path of the endpoint at its server. `session` and `version` are the server's id
    of the legacy session that the call belongs to, and the version of MCP there.
    """

    def __init__(
        self,
        registry: WorkRegistry,
        permit: Permit,
        endpoint: str,
        target: bytes,
        revision: Revision,
        *,
        session: str = "",
        version: bytes | None = None,
    ) -> None:
        self._registry = registry
        self._permit = permit
        self._endpoint = endpoint
        self._target = target
        self._revision = revision
        self._session = session
        self._version = version

    def task_runs(self, task: str, ttl_ms: float | None) -> None:
        """Remember a task, to cancel it if the branch is revoked."""
        fields, body = task_cancellation(
            task, self._revision, session=self._session, version=self._version
        )
        request = OwnRequest(b"POST", self._target, fields, body)
        self._add(IdKind.MCP_TASK, task, request, ttl_ms, self._session)

    def task_ended(self, task: str) -> None:
        """Forget a task."""
        self._registry.remove(self._key(IdKind.MCP_TASK, task))

    def session_runs(self, session: str = "") -> None:
        """Remember a session that the server begins, or else that of the call, if there is one.

        Each call in a session does so, because the latest token counts.
        """
        session = session or self._session
        if not session:
            return
        fields: tuple[HeaderField, ...] = tuple(session_fields(session, self._version))
        request = OwnRequest(b"DELETE", self._target, fields)
        self._add(IdKind.MCP_SESSION, session, request, None)

    def session_ended(self) -> None:
        """Forget the session of the call: its client or its server has ended it."""
        self._registry.remove(self._key(IdKind.MCP_SESSION, self._session))

    def _add(
        self,
        kind: IdKind,
        work_id: str,
        request: OwnRequest,
        ttl_ms: float | None,
        session: str = "",
    ) -> None:
        expires = expires_at(time.monotonic(), ttl_ms)
        key = self._key(kind, work_id)
        self._registry.add(UpstreamWork(key, self._permit, request, expires, session))

    def _key(self, kind: IdKind, work_id: str) -> WorkKey:
        return WorkKey(self._permit.grant.branch_key, self._endpoint, kind, work_id)
