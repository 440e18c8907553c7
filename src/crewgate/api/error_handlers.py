"""What an application of Starlette answers to a request that no endpoint serves or that fails.

The control API and the live page share it.
"""

import traceback
from pathlib import PurePath
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from crewgate.api import problems
from crewgate.core.problem_types import INVALID_REQUEST, NO_SUCH_METHOD, NOT_FOUND
from crewgate.errors import ControlError

_NO_ROUTE: Final = {404: (NOT_FOUND, "there is no such path"), 405: (NO_SUCH_METHOD, "")}


def failure_place(error: Exception) -> str:
    """Return the type and the place of an error, without its text, which may repeat the request."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"


async def _refuse(request: Request, error: Exception) -> Response:
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


EXCEPTION_HANDLERS: Final[dict[type[Exception], ExceptionHandler]] = {
    HTTPException: _no_route,
    ControlError: _refuse,
}
