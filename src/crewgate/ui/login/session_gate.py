"""Admits requests with a session and a proof, and limits how many a session may have at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from starlette.requests import Request

from crewgate import limits
from crewgate.api.caller_concurrency_limit import CallerConcurrencyLimiter
from crewgate.core import problem_types
from crewgate.ui.login.browser_key import ProvenRequest
from crewgate.ui.login.cookies import session_cookie
from crewgate.ui.login.login_service import LoginService
from crewgate.ui.login.session import Session
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person


class AdmittedRequest(NamedTuple):
    """The session of a request, its person with the rights of now, and its whole body."""

    session: Session
    person: Person
    body: bytes


class SessionGate:
    """Admits the requests of all sessions."""

    def __init__(self, state: PageState, login: LoginService) -> None:
        self._state = state
        self._login = login
        self._requests = CallerConcurrencyLimiter(limits.ui_requests_of_one_max)
        self._streams = CallerConcurrencyLimiter(limits.ui_streams_of_one_max)

    @asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[AdmittedRequest]:
        """Count a request while the block runs. Raises ControlError 401 or 429."""
        page, fields = self._state.page, request.headers
        ids = [*session_cookie(page).values(fields.getlist("cookie"))]
        session = self._login.session_of(ids, request.state.peer)
        proofs = fields.getlist("dpop")
        if session is None or len(proofs) != 1:
            raise problem_types.NO_SESSION.error()
        with self._requests.enter(_holder(session)):
            body = await request.body()
            path = request.scope["raw_path"].decode("latin-1")
            proven = ProvenRequest(request.method, f"{page.url}{path}", body)
            person = self._login.prove(session, proofs[0], proven)
            yield AdmittedRequest(session, person, body)

    @contextmanager
    def hold(self, session: Session) -> Iterator[None]:
        """Count a long answer while the block runs. Raises ControlError 429.

        Meanwhile the session is in use: a person watches.
        """
        with self._streams.enter(_holder(session)):
            session.pages += 1
            try:
                yield
            finally:
                session.pages -= 1
                self._login.sessions.use(session)


def _holder(session: Session) -> str:
    return f"session {session.digest[:16]}"
