"""`CrewgateMiddleware` authorizes every request before the application sees it.

It refuses calls like the gateway does, and ends a response whose branch is revoked or whose token
has expired. It is plain ASGI 3, for asyncio and Trio. Requests reach the application unchanged,
with their token: the application is the tool.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Literal
from urllib.parse import quote

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.asgi.abortable_response import AbortableResponse, respond
from crewgate.asgi.cancel_on_condition import run_until
from crewgate.asgi.proof_targets import ProofTargets
from crewgate.asgi.tls import certificate_of
from crewgate.asgi.tool_routes import NONE, ToolSelector, tool_of
from crewgate.core import protected_resource
from crewgate.core.bearer import Credentials, find_token, is_ours
from crewgate.core.http_types import (
    ASGIApplication,
    ASGIMessage,
    ASGIReceive,
    ASGISend,
    HeaderField,
    Scope,
)
from crewgate.core.problems import DPOP_NONCE, refusal
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial, problem_type
from crewgate.errors import ConfigurationError
from crewgate.verifier import DPoPProof, Verifier

_log = logging.getLogger("crewgate.asgi")
_AUTHORITY = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_VIOLATION = 1008  # RFC 6455, section 7.4.1


class CrewgateMiddleware:
    """Wraps an ASGI application: `CrewgateMiddleware(app, verifier=…, tool="search.web")`.

    The application finds the permit as `scope["crewgate"]`, and as `request.state.crewgate` in
    Starlette and FastAPI. The application may settle the permit at a lower cost, or release it;
    otherwise the branch pays the price. After the middleware has ended a call, `send` raises
    ConnectionAbortedError in the application. The middleware refuses WebSockets.

    If the server offers the ASGI TLS extension, the middleware passes the client's certificate to
    `Verifier.admit`. The server must then verify clients against the internal CA, and against no
    other CA.

    Args:
        app: The application, ASGI 3.
        verifier: The verifier that decides; the caller closes it.
        tool: The tool's name; or names by route, {"POST /search": "search.web"}, as in a
            configuration file; or a function from the scope to a name, or to None for no tool.
        carriers: The names of the header fields that may hold the token: "authorization",
            "x-api-key", …
        origins: The origins of this server's URLs as clients use them, such as
            "https://tools.example". A DPoP proof must name one; without origins, no proof is good.
        dpop_nonce: Whether a DPoP proof must have a nonce of this machine. The client gets the
            nonce with the refusal of its first proof.

    Raises:
        ConfigurationError: The verifier has no tool with a name in `tool`. Or the table of routes
            is empty, has a route that cannot be used, or has two routes for the same request. Or
            `tool` is of another type. Or `carriers` is empty, or one text. Or `origins` has a text
            that is no origin.
    """

    def __init__(
        self,
        app: ASGIApplication,
        *,
        verifier: Verifier,
        tool: ToolSelector,
        carriers: Collection[str] = ("authorization",),
        origins: Collection[str] = (),
        dpop_nonce: Literal["optional", "required"] = "optional",
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._tool_of = tool_of(tool, verifier.tools)
        if isinstance(carriers, str):
            raise ConfigurationError(
                f'CrewgateMiddleware: carriers must be a list: write ["{carriers}"]'
            )
        if not carriers:
            raise ConfigurationError(
                'CrewgateMiddleware: carriers must name a header field: write ["authorization"]'
            )
        self._carriers = frozenset(carrier.lower().encode() for carrier in carriers)
        self._proof_targets = ProofTargets(origins, nonce_required=dpop_nonce == "required")
        self._ends: dict[bytes, list[int]] = {}

    def __repr__(self) -> str:
        return f"<CrewgateMiddleware {self._verifier!r} branches={len(self._ends)}>"

    async def __call__(self, scope: Scope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one request, or the application's lifespan.

        Raises:
            StreamTerminatedError: The middleware ended the call in the middle of its response, so
                the server must end the connection. Servers log this error.
            NotImplementedError: The scope is of a type that the middleware cannot authorize.
        """
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _VIOLATION})
        else:
            raise NotImplementedError(
                f"CrewgateMiddleware: cannot authorize a scope of type {scope['type']!r}; serve it "
                "beside the middleware"
            )

    async def _request(self, scope: Scope, receive: ASGIReceive, send: ASGISend) -> None:
        request, metadata = os.urandom(16), _metadata_url(scope)
        asked: list[HeaderField] = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        head = scope["method"] == "HEAD"
        if scope["method"] in {"GET", "HEAD"} and _is_metadata(scope):
            document = protected_resource.document(self._verifier.audience, self._verifier.issuers)
            json = [(b"content-type", b"application/json")]
            await respond(send, 200, json, document, head=head)
            return
        peer = certificate_of(scope)
        found: Credentials | Reason = Reason.INVALID_REQUEST
        if not any(is_ours(name) for name, _ in asked):
            found = find_token(asked, scope.get("query_string", b""), self._carriers)
        tool = self._tool_of(scope) or NONE
        verdict: Permit | Denial
        proof: DPoPProof | None = None
        if found is Reason.MISSING_TOKEN and peer is not None:
            verdict = await self._verifier.admit(None, tool, peer_certificate=peer)
        elif isinstance(found, Reason):
            verdict = Denial(found)
        else:
            if found.proof is not None:
                proof = self._proof_targets.proof(scope, found.proof)
            verdict = await self._verifier.admit(
                found.token, tool, peer_certificate=peer, proof=proof
            )
        if isinstance(verdict, Denial):
            await _discard(scope, receive)
            kind = problem_type(verdict)
            reply = refusal(kind, request, verdict, asked=asked, metadata=metadata, scope=tool)
            await respond(send, *reply, head=head)
            return
        if proof is not None and proof.next_nonce is not None:
            send = _with_field(send, (DPOP_NONCE, proof.next_nonce))
        with verdict:
            call = _Call(verdict, self._ends, request, metadata, asked)
            if peer is not None:
                call.is_peer_revoked = partial(self._verifier.peer_revoked, peer)
            await call.run(self._app, scope, receive, send)


class _Call:
    """A permitted call; it ends when the newest token of its branch expires.

    `ends` has the number of calls and the latest `exp` for each branch key.
    """

    def __init__(
        self,
        permit: Permit,
        ends: dict[bytes, list[int]],
        request: bytes,
        metadata: bytes,
        asked: list[HeaderField],
    ) -> None:
        self._permit = permit
        self._ends = ends
        self._request = request
        self._metadata = metadata
        self._asked = asked
        self._why: Reason | None = None
        # Whether the client certificate of its connection is revoked.
        self.is_peer_revoked: Callable[[], bool] = lambda: False

    async def run(
        self, app: ASGIApplication, scope: Scope, receive: ASGIReceive, send: ASGISend
    ) -> None:
        """Run the application.

        Raises:
            StreamTerminatedError: Its response had to be broken off.
        """
        response = AbortableResponse(send, self._is_over)
        state = {**scope.get("state", {}), "crewgate": self._permit}
        app_scope = {**scope, "crewgate": self._permit, "state": state}
        self._enter()
        try:
            await run_until(lambda: app(app_scope, receive, response.send), self._is_over)
        except Exception:
            if self._why is None:
                raise
            _log.debug("the application raised after its call had been ended", exc_info=True)
        finally:
            self._leave()
        if self._why is not None:
            denial = Denial(self._why, self._permit.grant)
            await response.terminate(denial, self._request, self._metadata, self._asked)

    def _is_over(self) -> bool:
        """Return whether the call must end; once true, always true."""
        if self._why is None:
            if self._permit.revoked or self.is_peer_revoked():
                self._why = Reason.BRANCH_REVOKED
            elif time.time() >= self._ends[self._permit.grant.branch_key][1]:
                self._why = Reason.TOKEN_EXPIRED
        return self._why is not None

    def _enter(self) -> None:
        """Count the call; its token may extend the other calls of its branch."""
        grant = self._permit.grant
        calls = self._ends.setdefault(grant.branch_key, [0, 0])
        calls[0] += 1
        calls[1] = max(calls[1], grant.claims.exp)

    def _leave(self) -> None:
        key = self._permit.grant.branch_key
        self._ends[key][0] -= 1
        if not self._ends[key][0]:
            del self._ends[key]


def _with_field(send: ASGISend, field: HeaderField) -> ASGISend:
    """Return a `send` that adds a field to the head of the response."""

    async def sending(message: ASGIMessage) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), field]}
        await send(message)

    return sending


async def _discard(scope: Scope, receive: ASGIReceive) -> None:
    """Read the body of a refused request, within limits, so that its client gets the response.

    A server that closes with an unread body resets the connection, and the response is lost;
    Hypercorn also blocks all other streams of an HTTP/2 connection.
    """
    if any(bytes(name) == b"expect" for name, _ in scope["headers"]):
        return  # reading would have the server ask for the body (100 Continue)
    until = time.monotonic() + limits.linger_seconds_max

    async def read() -> None:
        left = limits.discard_bytes_max
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    await run_until(read, lambda: time.monotonic() >= until)


def _is_metadata(scope: Scope) -> bool:
    """Return whether the request is for the metadata, also if the application is mounted at a path.

    Some servers and proxies leave the mount path out of `path`, against the ASGI specification.
    """
    path = scope["path"]
    return path in {protected_resource.PATH, _mount_path(scope) + protected_resource.PATH}


def _mount_path(scope: Scope) -> str:
    return str(scope.get("root_path", "")).rstrip("/")


def _metadata_url(scope: Scope) -> bytes:
    """Return the URL of the protected resource metadata (RFC 9728); empty if Host is not valid.

    It is below the mount path, since other requests do not reach the middleware.
    """
    hosts = [bytes(value) for name, value in scope["headers"] if bytes(name) == b"host"]
    if len(hosts) != 1 or not _AUTHORITY.fullmatch(hosts[0]):
        return b""
    scheme = str(scope.get("scheme", "http")).encode("ascii", "replace")
    path = quote(_mount_path(scope) + protected_resource.PATH, errors="replace")
    return b"%b://%b%b" % (scheme, hosts[0], path.encode())
