"""The live page as an ASGI application: its files, the ways to log in, and the endpoints.

Each request passes these checks, in this order: the host, the site that it comes from, a session,
how many requests that has, the proof of the browser's key, and the rights of the person. Only the
files and the ways to log in need no session.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewgate import limits
from crewgate.api import problems
from crewgate.api.error_handlers import EXCEPTION_HANDLERS, failure_place
from crewgate.api.request import query_of
from crewgate.core import problem_types
from crewgate.errors import ControlError, CrewgateError, PeerError
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.endpoints import ENDPOINTS
from crewgate.ui.json_response import DocumentResponse, json_response
from crewgate.ui.login.login_service import CALLBACK, LoginService
from crewgate.ui.login.routes import LoginRoutes
from crewgate.ui.login.session import Session
from crewgate.ui.login.session_gate import SessionGate
from crewgate.ui.page_state import PageState
from crewgate.ui.request_checks import RequestHead, check
from crewgate.ui.security_headers import SECURITY_FIELDS
from crewgate.ui.static_files import PAGE, StaticFiles

_log = logging.getLogger(__name__)
_NAVIGATED: Final = frozenset({"/", CALLBACK})
_FORBIDDEN: Final = 403
Serve = Callable[[Request], Awaitable[ASGIApp]]


def make_app(
    state: PageState,
    login: LoginService,
    machine: str,
    endpoints: Sequence[PageEndpoint] = ENDPOINTS,
) -> ASGIApp:
    """Return the application; `machine` is the name of this machine.

    Its server puts the client of the connection into `scope["state"]["peer"]`.
    """
    gate, files = SessionGate(state, login), StaticFiles()
    own = LoginRoutes(state, login, gate, machine)

    async def page(request: Request) -> Response:
        return files.answer(PAGE, request)

    async def file(request: Request) -> Response:
        return files.answer(request.path_params["name"], request)

    serves: list[tuple[str, str, Serve]] = [
        ("GET", "/", page),
        ("GET", "/static/{name}", file),
        ("GET", CALLBACK, own.complete_login),
        ("GET", "/api/ways", own.ways),
        ("POST", "/api/login", own.begin_login),
        ("POST", "/api/session", own.begin_session),
        ("GET", "/api/session", own.show_session),
        ("DELETE", "/api/session", own.end_session),
    ]
    serves += [
        (each.method, each.path, partial(_serve, state, login, gate, each)) for each in endpoints
    ]
    app = Starlette(
        routes=_routes(serves),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    # A redirect would repeat the Host header, which the client can forge.
    app.router.redirect_slashes = False
    return _protected(app, state, login)


def _protected(app: ASGIApp, state: PageState, login: LoginService) -> ASGIApp:
    """Return the application behind the checks of the host and of the site."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["path"].startswith("/api/")

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonce = [(b"dpop-nonce", login.proofs.nonce.encode())] if is_api else []
                message["headers"] = [*message.get("headers", ()), *SECURITY_FIELDS, *nonce]
            await send(message)

        fields: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        try:
            check(RequestHead(scope["method"], scope["path"], fields), state.page, _NAVIGATED)
        except ControlError as error:
            answer: ASGIApp = problems.response(scope["path"], error)
        else:
            answer = app
        await answer(scope, receive, send_protected)

    return serve


def _routes(serves: Sequence[tuple[str, str, Serve]]) -> list[Route]:
    by_path: dict[str, dict[str, Serve]] = {}
    for method, path, serve in serves:
        by_path.setdefault(path, {})[method] = serve
    return [
        Route(path, _guarded(path, methods), methods=[*methods])
        for path, methods in by_path.items()
    ]


def _chosen(methods: dict[str, Serve], method: str, path: str) -> Serve:
    """Return what serves a method; Starlette adds HEAD, for which no browser makes a proof."""
    if method != "HEAD":
        return methods[method]
    if path.startswith("/api/"):
        raise problem_types.NO_SUCH_METHOD.error()
    return methods["GET"]


def _guarded(path: str, methods: dict[str, Serve]) -> Serve:
    """Return the handler of one path, which turns errors into problem responses."""

    async def serve(request: Request) -> ASGIApp:
        try:
            return await _chosen(methods, request.method, path)(request)
        except PeerError:
            # The client has disconnected, so nobody can get a response.
            raise
        except CrewgateError as error:
            problem = problems.control_error(error)
            if problems.is_ours(problem):
                _log.warning("%s %s: %s", request.method, path, error)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the process
            _log.warning("%s %s failed: %s", request.method, path, failure_place(error))
            problem = problems.control_error(CrewgateError())
        return problems.response(path, problem)

    return serve


async def _serve(
    state: PageState,
    login: LoginService,
    gate: SessionGate,
    endpoint: PageEndpoint,
    request: Request,
) -> ASGIApp:
    async with gate.admit(request) as admitted:
        session, person, body = admitted
        page_request = PageRequest(
            request.path_params,
            query_of(request.scope["query_string"]),
            body,
            request.headers.get("content-type", ""),
            raw_path=request.scope["raw_path"],
            look_up=partial(login.look_up, session),
        )
        page_request.expect_query(endpoint.query)
        try:
            answer = await endpoint.handler(state, person, page_request)
        except ControlError as error:
            if error.status == _FORBIDDEN:
                # The error repeats what the request names: it must not fill the audit.
                state.refusal_limit.take(person.name)
                what = f"{person.name} may not {endpoint.method} {endpoint.path}: {error}"
                state.on_action(what[: limits.health_text_chars_max])
            raise
    response = answer if isinstance(answer, Response) else json_response(answer)
    if isinstance(response, DocumentResponse):
        room = partial(state.document_room.hold, person.name, response.size)
        return _HeldResponse(response, gate, session, room)
    if isinstance(response, StreamingResponse):
        return _HeldResponse(response, gate, session, nullcontext)
    return response


class _HeldResponse:
    """A long response, which counts as one of its session while it is sent."""

    def __init__(
        self,
        response: Response,
        gate: SessionGate,
        session: Session,
        room: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`room` counts its bytes while the block runs."""
        self._response = response
        self._gate = gate
        self._session = session
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. Raises ControlError 429 before the first byte."""
        with self._gate.hold(self._session), self._room():
            await self._response(scope, receive, send)
