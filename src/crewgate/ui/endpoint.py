"""An endpoint of the live page: who may call it, and what answers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from crewgate.api.request import APIRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person

# Why a session is over: the person has signed out, or its time has come.
SessionEnd = Literal["signed-out", "ended"]


class PageRequest(APIRequest, frozen=True, kw_only=True):
    """A request of a session, with its whole body.

    `look_up` returns the person with the rights of this moment, or why the session is over. A
    long request calls it again and again.
    """

    look_up: Callable[[], Person | SessionEnd]


class PageEndpoint(msgspec.Struct, frozen=True):
    """One method of one path below `/api/`, for a person with a session.

    `handler` gets what the endpoints share, the person and the request. It checks the rights that
    depend on what the request names. Its answer is sent as JSON, unless it is a response of
    Starlette. `query` has the parameters that the endpoint knows, with their descriptions.
    """

    method: str
    path: str
    handler: Callable[[PageState, Person, PageRequest], Awaitable[object]]
    query: Mapping[str, str] = {}
