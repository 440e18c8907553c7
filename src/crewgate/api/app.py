"""The control API as an ASGI application: routes from the table, errors as problem documents.

A refusal of the token endpoint speaks OAuth (RFC 6749 §5.2), every other one RFC 9457.
"""

import logging
from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crewgate.api import access
from crewgate.api.call import Call
from crewgate.api.endpoints import ENDPOINTS, Endpoint
from crewgate.api.office import Office
from crewgate.api.openapi import document
from crewgate.api.words import OAuthProblem, Problem
from crewgate.core.identity import Identity, Role
from crewgate.core.problems import TYPES
from crewgate.errors import (
    AuthorityError,
    ControlError,
    CrewgateError,
    IssuerError,
    LinkError,
    RefusedError,
)

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_JSON = "application/json"
_PROBLEM = "application/problem+json"
# What a person mends at the gateway, and what the caller does.
_STATUS: dict[type[CrewgateError], tuple[int, str]] = {
    RefusedError: (409, "refused"),
    IssuerError: (409, "refused"),
    AuthorityError: (409, "refused"),
    LinkError: (503, "agent-unavailable"),
}
_MEDIA = {"/ocsp": "application/ocsp-response", "/crl": "application/x-pem-file"}
_OAUTH_PATHS = {"/v1/tokens", "/v1/introspect"}


def make_app(office: Office, on_error: Callable[[str], None] = _log.error) -> Starlette:
    """The application; whoever serves it has put the peer into `scope["state"]["peer"]`."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = [
        Route(path, _serve(office, methods), methods=[*methods])
        for path, methods in by_path.items()
    ]
    described = _encode(document())

    async def openapi(request: Request) -> Response:
        _caller(request, access.EVERYBODY)
        return Response(described, media_type=_JSON)

    async def broken(request: Request, error: Exception) -> Response:
        on_error(f"{request.method} {request.url.path} failed: {error!r}")
        return _problem(request, 500, "internal-error", "An error of ours; it is in our log.")

    return Starlette(
        routes=[*routes, Route("/openapi.json", openapi)],
        exception_handlers={
            CrewgateError: _refused,
            HTTPException: _not_found,
            Exception: broken,
        },
    )


def _serve(office: Office, methods: dict[str, Endpoint]) -> Callable[[Request], object]:
    async def serve(request: Request) -> Response:
        endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            raise HTTPException(405)
        caller = _caller(request, endpoint.roles)
        call = Call(
            request.path_params,
            dict(request.query_params),
            await request.body(),
            request.headers.get("content-type", ""),
        )
        answer = await endpoint.work(office, caller, call)
        if isinstance(answer, bytes):
            return Response(answer, endpoint.status, _headers(), _MEDIA.get(endpoint.path))
        return Response(_encode(answer), endpoint.status, _headers(), _JSON)

    return serve


def _caller(request: Request, roles: frozenset[Role]) -> Identity:
    return access.permit(request.state.peer.identity, roles)


def _headers() -> dict[str, str]:
    return {"cache-control": "no-store"}


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, ControlError):
        return _problem(request, error.status, error.slug, str(error))
    for kind, (status, slug) in _STATUS.items():
        if isinstance(error, kind):
            return _problem(request, status, slug, str(error))
    raise error


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = {404: ("not-found", "there is no such path"), 405: ("no-such-method", "not for this")}
    slug, detail = words.get(status, ("invalid-request", "the request cannot be understood"))
    answer = _problem(request, status, slug, detail)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _problem(request: Request, status: int, slug: str, detail: str) -> Response:
    if request.url.path in _OAUTH_PATHS and status < 500:  # noqa: PLR2004 - a class of statuses
        code = slug.replace("-", "_")
        return Response(
            _encode(OAuthProblem(error=code, error_description=detail)), status, _headers(), _JSON
        )
    title = slug.replace("-", " ").capitalize()
    problem = Problem(type=TYPES + slug, title=title, status=status, detail=detail)
    return Response(_encode(problem), status, _headers(), _PROBLEM)
