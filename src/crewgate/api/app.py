"""The control API as an ASGI application: routes from the table, each behind the same four doors.

Role, origin, a share of the process, and that the certificate of the connection is good at this
moment: a connection outlives both a revocation that is just being made and the certificate's end.
"""

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from pathlib import PurePath
from typing import NamedTuple

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from crewgate import limits
from crewgate.api import access, problems
from crewgate.api.backend import Backend
from crewgate.api.concurrency_limit import ConcurrencyLimiter
from crewgate.api.endpoints import ENDPOINTS, Endpoint
from crewgate.api.openapi import PATH, document
from crewgate.api.request import APIRequest, query_of
from crewgate.api.revocation_limit import CrewRevocationLimiter
from crewgate.api.schemas import (
    CertificateResponse,
    HealthResponse,
    RevocationResponse,
    TokenResponse,
)
from crewgate.core.problem_types import INVALID_REQUEST, NO_SUCH_METHOD, NOT_FOUND
from crewgate.core.x509.certificate import serial_text
from crewgate.errors import ClientError, ControlError, CrewgateError

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_HEADERS = {"cache-control": "no-store"}
_NO_ROUTE = {404: (NOT_FOUND, "there is no such path"), 405: (NO_SUCH_METHOD, "")}
Serve = Callable[[Request], Awaitable[Response]]


def make_app(backend: Backend, on_deed: Callable[[str], None] = _log.info) -> Starlette:
    """The application; whoever serves it has put the peer into `scope["state"]["peer"]`.

    `on_deed` hears of who has changed what.
    """
    described = _encode(document())

    async def openapi(*_: object) -> bytes:
        return described

    own = Endpoint("GET", PATH, access.EVERYBODY, openapi, bytes, "This document.")
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in (*ENDPOINTS, own):
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    state = _AppState(backend, ConcurrencyLimiter(), CrewRevocationLimiter(), on_deed)
    routes = [
        Route(path, _guarded(state, methods), methods=[*methods])
        for path, methods in by_path.items()
    ]
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _no_route, ControlError: _busy}
    )
    # A redirect would repeat a Host that the client made up.
    app.router.redirect_slashes = False
    return app


class _AppState(NamedTuple):
    """What all endpoints share."""

    backend: Backend
    turnstile: ConcurrencyLimiter
    revocation_limit: CrewRevocationLimiter
    on_action: Callable[[str], None]


def _guarded(state: _AppState, methods: dict[str, Endpoint]) -> Serve:
    """The endpoints of one path, with the errors of their work as answers."""

    async def serve(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        try:
            return await _serve(state, endpoint, request)
        except ClientError:
            raise  # the client has gone: nobody is to be answered
        except CrewgateError as error:
            found = problems.control_error(error)
            if problems.is_ours(found):
                _log.warning("%s %s: %s", endpoint.method, endpoint.path, error)
        except Exception as error:  # noqa: BLE001 - the barrier
            _log.warning("%s %s failed: %s", endpoint.method, endpoint.path, _placed(error))
            found = problems.control_error(CrewgateError())
        return problems.response(request.scope["path"], found)

    return serve


async def _serve(state: _AppState, endpoint: Endpoint, request: Request) -> Response:
    peer = request.state.peer
    caller = access.permit(peer.identity, endpoint.roles)
    # A browser that holds a certificate would send it along for any page (cross-site request
    # forgery); no page is meant to be here.
    if "origin" in request.headers:
        access.refuse("the header Origin says that a web page asks; this API serves none")
    holder = f"{caller.role.value}:{caller.label}"
    with state.turnstile.enter(holder):
        serial = serial_text(peer.serial)
        # Before the certificate is judged: a body and a turn may take their time, and a revocation
        # come in it.
        body = await request.body()
        revokes = endpoint.answer is RevocationResponse
        async with state.revocation_limit.enter(caller) if revokes else nullcontext():
            await state.backend.check(serial)
            call = APIRequest(
                request.path_params,
                query_of(request.scope["query_string"]),
                body,
                request.headers.get("content-type", ""),
                serial,
                request.scope["raw_path"],
            )
            call.expect_query(endpoint.query)
            answer = await endpoint.work(state.backend, caller, call)
    if isinstance(answer, RevocationResponse | TokenResponse | CertificateResponse):
        state.on_action(f"{caller.label}, certificate {serial}: {answer.audit_text}")
    is_waiting = isinstance(answer, HealthResponse) and answer.status == "waiting"
    status = endpoint.unready if is_waiting and endpoint.unready else endpoint.status
    data = answer if isinstance(answer, bytes) else _encode(answer)
    if len(data) <= limits.buffer_bytes_max:
        return Response(data, status, _HEADERS, endpoint.media)
    return _StreamedResponse(
        _pieces(data), status, _HEADERS, endpoint.media, state.turnstile, holder
    )


class _StreamedResponse(StreamingResponse):
    """An answer whose sending counts as work for its holder: it holds on to what it sends."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        status: int,
        headers: dict[str, str],
        media: str,
        turnstile: ConcurrencyLimiter,
        holder: str,
    ) -> None:
        super().__init__(pieces, status, headers, media)
        self._turnstile, self._holder = turnstile, holder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; ControlError 429 before anything was sent."""
        with self._turnstile.enter(self._holder):
            await super().__call__(scope, receive, send)


def _placed(error: Exception) -> str:
    """What went wrong, and where; without its text, which may hold what was sent."""
    places = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(places[-1].filename).name}:{places[-1].lineno}" if places else "?"
    return f"{type(error).__name__} at {where}"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """A large answer bit by bit: what a client leaves unread is not copied for it."""
    size = limits.buffer_bytes_max
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _busy(request: Request, error: Exception) -> Response:
    if not isinstance(error, ControlError):
        raise error
    return problems.response(request.scope["path"], error)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    problem, detail = _NO_ROUTE.get(status, (INVALID_REQUEST, "the request cannot be understood"))
    answer = problems.response(request.scope["path"], problem.error(detail))
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer
