"""The requests by which a person logs in to the live page, and out."""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from crewgate import limits
from crewgate.api.request import APIRequest, query_of
from crewgate.core import problem_types
from crewgate.core.actors import ActorKind
from crewgate.core.tokens.proof import P256Key
from crewgate.errors import ControlError
from crewgate.ui.json_response import json_response
from crewgate.ui.login.cookies import attempt_cookie, session_cookie
from crewgate.ui.login.login_service import (
    CallbackQuery,
    LoginFailedError,
    LoginFailure,
    LoginService,
)
from crewgate.ui.login.session import Session
from crewgate.ui.login.session_gate import SessionGate
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right

T = TypeVar("T")
_Secret = Annotated[str, Meta(max_length=128)]  # a code has 43 characters


class _LoginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: P256Key


class _SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: P256Key
    code: _Secret = ""


class LoginRoutes:
    """What answers the requests; `machine` is the name of this machine."""

    def __init__(
        self, state: PageState, login: LoginService, gate: SessionGate, machine: str
    ) -> None:
        self._state = state
        self._login = login
        self._gate = gate
        self._machine = machine

    async def ways(self, _request: Request) -> Response:
        """Return how a person can log in, with this connection."""
        page, provider = self._state.page, self._login.provider
        return json_response(
            {
                "login": "" if provider is None else provider.login.issuer,
                "certificate": page.asks_certificates,
                "link": self._login.codes is not None,
                "machine": self._machine,
            }
        )

    async def begin_login(self, request: Request) -> Response:
        """Return where the browser goes to log in, and give it the cookie of the attempt."""
        asked = await _decode(request, _LoginRequest)
        begun = await self._login.begin_login(asked.key, request.state.peer)
        answer = json_response({"url": begun.url})
        cookie = attempt_cookie(self._state.page)
        answer.headers.append("set-cookie", cookie.set(begun.cookie, limits.ui_attempt_seconds))
        return answer

    async def complete_login(self, request: Request) -> Response:
        """Begin the session of a browser that comes from the provider, and show the page."""
        page = self._state.page
        attempt = attempt_cookie(page)
        cookies = [*attempt.values(request.headers.getlist("cookie"))]
        try:
            query = _callback(request)
            session_id = await self._login.complete_login(query, cookies, request.state.peer)
        except LoginFailedError as error:
            return _back(error.word)
        answer = _back("")
        answer.headers.append("set-cookie", attempt.clear())
        cookie = session_cookie(page).set(session_id, page.session_seconds)
        answer.headers.append("set-cookie", cookie)
        return answer

    async def begin_session(self, request: Request) -> Response:
        """Begin a session with the code of a link, or with the certificate of the connection."""
        asked = await _decode(request, _SessionRequest)
        page, peer = self._state.page, request.state.peer
        try:
            if asked.code:
                session_id = await self._login.begin_with_code(asked.code, asked.key, peer)
            else:
                session_id = await self._login.begin_with_certificate(asked.key, peer)
        except LoginFailedError:
            raise problem_types.NO_SESSION.error() from None
        session = self._login.sessions.find(session_id)
        person = None if session is None else self._login.look_up(session)
        if session is None or not isinstance(person, Person):
            raise problem_types.NO_SESSION.error()
        answer = self._described(session, person)
        cookie = session_cookie(page).set(session_id, page.session_seconds)
        answer.headers.append("set-cookie", cookie)
        return answer

    async def show_session(self, request: Request) -> Response:
        """Return who has the session, and what this person may do."""
        async with self._gate.admit(request) as admitted:
            return self._described(admitted.session, admitted.person)

    async def end_session(self, request: Request) -> Response:
        """End the session, for good before the answer."""
        async with self._gate.admit(request) as admitted:
            await self._login.log_out(admitted.session)
            answer = Response(status_code=204, headers={"cache-control": "no-store"})
            answer.headers.append("set-cookie", session_cookie(self._state.page).clear())
            return answer

    def _described(self, session: Session, person: Person) -> Response:
        config = self._state.config
        return json_response(
            {
                "person": person.name,
                "name": ActorKind.PERSON.name_in(person.name) or person.name,
                "how": person.way,
                "rights": {each: sorted(person.rights.get(each, ())) for each in Right},
                "ends": session.begun + self._state.page.session_seconds,
                "machine": self._machine,
                "crews": [each.name for each in config.crews if person.may(Right.VIEW, each.name)],
            }
        )


async def _decode(request: Request, kind: type[T]) -> T:
    """Return the JSON body. Raises ControlError 400 or 415."""
    content_type = request.headers.get("content-type", "")
    return APIRequest({}, {}, await request.body(), content_type).decode(kind)


def _callback(request: Request) -> CallbackQuery:
    """Return the parameters; those that the provider adds are ignored (RFC 6749, 4.1.2)."""
    try:
        query = query_of(request.scope["query_string"])
    except ControlError as error:
        raise LoginFailedError("invalid", f"the way back from the provider: {error}") from None
    names = ("code", "state", "iss", "error")
    return CallbackQuery(*(query.get(name, "") for name in names))


def _back(why: LoginFailure | Literal[""]) -> Response:
    """Return the way to the page, which says why a login has failed."""
    place = f"/#/login-failed?why={why}" if why else "/"
    return RedirectResponse(place, 303, {"cache-control": "no-store"})
