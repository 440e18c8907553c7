"""The control API as an ASGI application, with a route for each endpoint.

Each request passes the same four checks: the caller's role, no Origin header, the concurrency
limit, and whether the certificate of its connection is valid at this moment. A connection can
outlive the certificate, and the TLS handshake cannot see a revocation that is in progress.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from crewgate import limits
from crewgate.api import access, problems
from crewgate.api.backend import Backend
from crewgate.api.caller_concurrency_limit import CallerConcurrencyLimiter
from crewgate.api.endpoints import ENDPOINTS, Endpoint
from crewgate.api.error_handlers import EXCEPTION_HANDLERS, failure_place
from crewgate.api.member_question_limit import MemberQuestionLimiter
from crewgate.api.openapi import PATH, document
from crewgate.api.request import APIRequest, query_of
from crewgate.api.response_pieces import pieces
from crewgate.api.revocation_limit import CrewRevocationLimiter
from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    RevocationResponse,
    TokenResponse,
)
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import CrewgateError, PeerError

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_HEADERS = {"cache-control": "no-store"}
Serve = Callable[[Request], Awaitable[Response]]


def make_app(backend: Backend, on_action: Callable[[str], None] = _log.info) -> Starlette:
    """Return the application. Its server puts the TLS peer into `scope["state"]["peer"]`.

    `on_action` gets a line for each change: who has changed what.
    """
    openapi_text = _encode(document())

    async def openapi(*_: object) -> bytes:
        return openapi_text

    own = Endpoint("GET", PATH, access.EVERYBODY, openapi, bytes, "This document.")
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in (*ENDPOINTS, own):
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    limiters = CallerConcurrencyLimiter(), CrewRevocationLimiter(), MemberQuestionLimiter()
    state = _AppState(backend, *limiters, on_action)
    routes = [
        Route(path, _guarded(state, methods), methods=[*methods])
        for path, methods in by_path.items()
    ]
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)
    # A redirect would repeat the Host header, which the client can forge.
    app.router.redirect_slashes = False
    return app


class _AppState(NamedTuple):
    """What all endpoints use."""

    backend: Backend
    limiter: CallerConcurrencyLimiter
    revocation_limit: CrewRevocationLimiter
    question_limit: MemberQuestionLimiter
    on_action: Callable[[str], None]


def _guarded(state: _AppState, methods: dict[str, Endpoint]) -> Serve:
    """Return the handler of one path, which turns errors into problem responses."""

    async def serve(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        try:
            return await _serve(state, endpoint, request)
        except PeerError:
            # The client has disconnected, so nobody can get a response.
            raise
        except CrewgateError as error:
            problem = problems.control_error(error)
            if problems.is_ours(problem):
                _log.warning("%s %s: %s", endpoint.method, endpoint.path, error)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the process
            _log.warning("%s %s failed: %s", endpoint.method, endpoint.path, failure_place(error))
            problem = problems.control_error(CrewgateError())
        return problems.response(request.scope["path"], problem)

    return serve


async def _serve(state: _AppState, endpoint: Endpoint, request: Request) -> Response:
    peer = request.state.peer
    caller = access.permit(peer.identity, endpoint.roles)
    # A browser would present a client certificate for a request of any page (cross-site request
    # forgery), and no web page may use this API.
    if "origin" in request.headers:
        access.refuse("web pages may not use this API (the request has an Origin header)")
    holder = f"{caller.role.value}:{caller.label}"
    with state.limiter.enter(holder):
        serial = serial_text(peer.serial)
        # Both waits, for the body and for the crew's turn, come before the check of the
        # certificate: it may be revoked while they last.
        body = await request.body()
        is_revocation = endpoint.response is RevocationResponse
        async with state.revocation_limit.enter(caller) if is_revocation else nullcontext():
            await state.backend.check(serial)
            api_request = APIRequest(
                request.path_params,
                query_of(request.scope["query_string"]),
                body,
                request.headers.get("content-type", ""),
                serial,
                request.scope["raw_path"],
            )
            api_request.expect_query(endpoint.query)
            if endpoint.asks_members(api_request.query):
                state.question_limit.take(caller)
            answer = await endpoint.handler(state.backend, caller, api_request)
    if isinstance(answer, RevocationResponse | TokenResponse | CertificateResponse):
        state.on_action(f"{caller.label}, certificate {serial}: {answer.audit_text}")
    is_waiting = isinstance(answer, HealthResponse) and answer.status == "waiting"
    status = endpoint.unready if is_waiting and endpoint.unready else endpoint.status
    data = answer if isinstance(answer, bytes) else _encode(answer)
    if len(data) <= limits.buffer_bytes_max:
        return Response(data, status, _HEADERS, endpoint.media)
    counted = state.limiter.enter(holder)
    return _StreamedResponse(counted, pieces(data), status, _HEADERS, endpoint.media)


class _StreamedResponse(StreamingResponse):
    """A large response, which counts as a request of its holder while it is sent.

    It keeps its body in memory for that long.
    """

    def __init__(self, counted: AbstractContextManager[None], *response: Any) -> None:  # noqa: ANN401
        super().__init__(*response)
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. Raises ControlError 429 before the first byte."""
        with self._counted:
            await super().__call__(scope, receive, send)
