"""An endpoint of the live page: who may call it, and what answers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from crewgate.api.request import APIRequest
from crewgate.ui.person import Person

S = TypeVar("S")


class PageEndpoint(msgspec.Struct, Generic[S], frozen=True):
    """One method of one path below `/api/`, for a person with a session.

    `handler` gets what the endpoints share, the person and the request. It checks the rights that
    depend on what the request names. Its answer is sent as JSON, unless it is a response of
    Starlette. `query` has the parameters that the endpoint knows, with their descriptions.
    """

    method: str
    path: str
    handler: Callable[[S, Person, APIRequest], Awaitable[object]]
    query: Mapping[str, str] = {}
