"""Begins and ends sessions: with the provider, with an operator's certificate, or with a link."""

import logging
import os
import pwd
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

import trio

from crewgate import limits
from crewgate.core import problem_types
from crewgate.core.actors import ActorKind
from crewgate.core.audit.network_prefix import peer_network
from crewgate.core.tokens.proof import P256Key
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import (
    ConfigurationError,
    ControlError,
    ServiceConnectionError,
    SignedTokenError,
)
from crewgate.runtime.durable_files import describe
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.server.request import ClientInfo
from crewgate.ui.endpoint import SessionEnd
from crewgate.ui.login.attempts import LoginAttempt, LoginAttempts
from crewgate.ui.login.browser_key import (
    InvalidProofError,
    ProofVerifier,
    ProvenRequest,
    key_thumbprint,
)
from crewgate.ui.login.network_rate_limit import NetworkRateLimiter
from crewgate.ui.login.one_time_codes import OneTimeCodes
from crewgate.ui.login.provider import Metadata, OpenIDProvider
from crewgate.ui.login.rights import person_of
from crewgate.ui.login.session import ProvenPerson, Session
from crewgate.ui.login.sessions import Sessions
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person

_log = logging.getLogger(__name__)
T = TypeVar("T")
CALLBACK: Final = "/login/callback"
_MISCONFIGURED: Final = (
    "The configuration of the page lets nobody log in. Ask the operator of the page."
)

# What the page says about a login that has failed; the log says more.
LoginFailure = Literal[
    "refused", "no-rights", "expired", "unavailable", "misconfigured", "busy", "invalid"
]


class LoginFailedError(Exception):
    """A login at the provider has failed; the text is for the log."""

    def __init__(self, word: LoginFailure, why: str) -> None:
        super().__init__(why)
        self.word: Final = word


class BegunLogin(NamedTuple):
    """Where the browser goes to log in, and the value of the cookie that it must bring back."""

    url: str
    cookie: str


class CallbackQuery(NamedTuple):
    """The parameters of the way back from the provider; empty if there are none."""

    code: str
    state: str
    issuer: str
    error: str


class LoginService:
    """The sessions of a page, and the ways to begin one.

    `codes` are those of the links of this process; None if it prints none.
    """

    def __init__(
        self, state: PageState, sessions: Sessions, codes: OneTimeCodes | None = None
    ) -> None:
        self.sessions: Final = sessions
        self.proofs: Final = ProofVerifier()
        self.codes: Final = codes
        self._state = state
        self._attempts = LoginAttempts()
        self._rates = NetworkRateLimiter()
        self._threads = trio.CapacityLimiter(limits.ui_provider_requests_max)
        self._provider: OpenIDProvider | None = None

    @property
    def provider(self) -> OpenIDProvider | None:
        """The provider of the configuration of now."""
        login = self._state.page.login
        if login is None:
            self._provider = None
        elif self._provider is None or self._provider.login != login:
            # An attempt of before has the nonce and the verifier of another client.
            before = None if self._provider is None else self._provider.problem
            self._provider, self._attempts = OpenIDProvider(login, before=before), LoginAttempts()
        return self._provider

    async def follow_provider(self) -> None:
        """Keep what is known of the provider new, until cancelled: the health tells of trouble."""
        while True:
            if (provider := self.provider) is not None:
                # A provider that hangs must not keep this process from its end.
                await trio.to_thread.run_sync(provider.refresh, abandon_on_cancel=True)
            await sleep_until_tick(limits.ui_provider_look_seconds)

    # The requests of a session.

    def session_of(self, ids: list[str], peer: ClientInfo) -> Session | None:
        """Return the session of a request by the ids in its cookies, if it may use it."""
        for each in ids:
            session = self.sessions.find(each)
            if session is not None and session.is_of_connection(peer.certificate_digest):
                return session
        return None

    def look_up(self, session: Session) -> Person | SessionEnd:
        """Return the person of a session with the rights of now, or why the session is over."""
        page = self._state.page
        self.sessions.end_if_over(session, page.session_seconds, page.idle_seconds)
        person = None if session.end else person_of(session.person, page)
        if person is None:
            self.sessions.end(session, "ended")
        return session.end or person or "ended"

    def prove(self, session: Session, proof: str, request: ProvenRequest) -> Person:
        """Return the person of a request whose proof is good. Raises ControlError 401 or 429."""
        try:
            self.proofs.verify(proof, request, session.key, session.proofs)
        except InvalidProofError:
            raise problem_types.NO_SESSION.error() from None
        person = self.look_up(session)
        if not isinstance(person, Person):
            raise problem_types.NO_SESSION.error()
        self.sessions.use(session)
        return person

    async def log_out(self, session: Session) -> None:
        """End a session, and return once no crash can undo that. Raises ControlError 503."""
        self.sessions.end(session, "signed-out")
        await self._save()
        self._state.on_action(f"{session.person.name} has logged out of the live page")

    # The ways to begin one.

    async def begin_login(self, key: P256Key, peer: ClientInfo) -> BegunLogin:
        """Begin a login at the provider. Raises ControlError."""
        thumbprint = self._key(key, peer)
        provider = self.provider
        if provider is None:
            raise problem_types.NOT_FOUND.error("nobody can log in here: there is no [ui.login]")
        try:
            metadata = await self._metadata(provider)
        except LoginFailedError as error:
            self._warn(error)
            detail = _MISCONFIGURED if error.word == "misconfigured" else ""
            raise problem_types.LOGIN_UNAVAILABLE.error(detail) from None
        begun = self._attempts.begin(thumbprint, peer.address)
        query = {
            "response_type": "code",
            "client_id": provider.login.client_id,
            "redirect_uri": self._callback,
            "scope": " ".join(provider.login.scopes),
            "state": begun.state,
            "nonce": begun.attempt.nonce,
            "code_challenge": begun.attempt.challenge,
            "code_challenge_method": "S256",
        }
        url = metadata.authorization_endpoint
        return BegunLogin(f"{url}{'&' if '?' in url else '?'}{urlencode(query)}", begun.cookie)

    async def complete_login(
        self, query: CallbackQuery, cookies: list[str], peer: ClientInfo
    ) -> str:
        """Return the id of a new session for a browser that comes from the provider.

        Raises LoginFailedError.
        """
        provider = self.provider
        attempt = self._attempts.take(query.state, cookies)
        try:
            if provider is None or attempt is None:
                raise LoginFailedError("expired", "no such login has begun in this browser")  # noqa: TRY301
            proven = await self._proven(provider, query, attempt)
            return await self._begin(proven, attempt.key, peer)
        except LoginFailedError as error:
            self._warn(error)
            raise
        except ControlError as error:  # the disk is full
            raise LoginFailedError("unavailable", str(error)) from None

    async def begin_with_code(self, code: str, key: P256Key, peer: ClientInfo) -> str:
        """Return the id of a new session for the code of a link. Raises ControlError."""
        # Nobody can guess a code, and another user of this machine has the same address. So a good
        # code is good even if that user has tried too often.
        is_good = self.codes is not None and self.codes.is_good(code)
        thumbprint = _thumbprint(key) if is_good else self._key(key, peer)
        if self.codes is None or not self.codes.take(code):
            raise problem_types.NO_SESSION.error()
        return await self._begin(
            ProvenPerson(ActorKind.LOCAL.named(user_name(os.geteuid())), "local"), thumbprint, peer
        )

    async def begin_with_certificate(self, key: P256Key, peer: ClientInfo) -> str:
        """Return the id of a new session for an operator's connection. Raises ControlError."""
        thumbprint = self._key(key, peer)
        identity, digest = peer.identity, peer.certificate_digest
        if identity is None or digest is None or identity.role is not Role.OPERATOR:
            raise problem_types.NO_SESSION.error()
        proven = ProvenPerson(identity.label, "certificate", certificate=digest.hex())
        return await self._begin(proven, thumbprint, peer)

    @property
    def _callback(self) -> str:
        return f"{self._state.page.url}{CALLBACK}"

    def _key(self, key: P256Key, peer: ClientInfo) -> bytes:
        """Return the thumbprint of a new session's key. Raises ControlError 400 or 429."""
        self._rates.take(peer.address)
        return _thumbprint(key)

    async def _proven(
        self, provider: OpenIDProvider, query: CallbackQuery, attempt: LoginAttempt
    ) -> ProvenPerson:
        metadata = await self._metadata(provider)
        # An answer of another provider could carry its code here (RFC 9207).
        must_name = metadata.authorization_response_iss_parameter_supported
        if query.issuer != provider.login.issuer and (query.issuer or must_name):
            raise LoginFailedError("invalid", "the answer is of another issuer")
        if query.error or not query.code:
            raise LoginFailedError("refused", "the provider, or the person there, has refused it")
        return await self._ask(
            lambda: provider.person(query.code, attempt.verifier, attempt.nonce, self._callback)
        )

    async def _metadata(self, provider: OpenIDProvider) -> Metadata:
        known = provider.known_metadata
        return await self._ask(provider.metadata) if known is None else known

    async def _ask(self, ask: Callable[[], T]) -> T:
        """Return what the provider answers to `ask`, in another thread. Raises LoginFailedError."""
        if not self._threads.available_tokens:
            raise LoginFailedError("busy", "the provider has too many requests to answer")
        try:
            return await trio.to_thread.run_sync(ask, limiter=self._threads, abandon_on_cancel=True)
        except SignedTokenError as error:
            raise LoginFailedError("invalid", f"the ID token is not good: {error}") from None
        except ServiceConnectionError as error:
            raise LoginFailedError("unavailable", str(error)) from None
        except ConfigurationError as error:
            raise LoginFailedError("misconfigured", str(error)) from None

    async def _begin(self, proven: ProvenPerson, key: bytes, peer: ClientInfo) -> str:
        """Begin a session for a person with rights. Raises LoginFailedError, ControlError 503."""
        if person_of(proven, self._state.page) is None:
            self._state.on_action(f"{proven.name} has no right on the live page: login refused")
            raise LoginFailedError("no-rights", f"{proven.name} has no right in [ui.access]")
        session_id = self.sessions.begin(proven, key)
        try:
            await self._save()
        except ControlError:
            if (session := self.sessions.find(session_id)) is not None:
                self.sessions.end(session, "ended")
            raise
        network = peer_network(peer.address)
        self._state.on_action(f"{proven.name} has logged in to the live page from {network}")
        return session_id

    async def _save(self) -> None:
        try:
            await self.sessions.save()
        except OSError as error:
            _log.warning("the sessions of the live page cannot be stored: %s", describe(error))
            raise problem_types.LOGIN_UNAVAILABLE.error(
                "The page cannot store its sessions. Ask its operator."
            ) from None

    def _warn(self, error: LoginFailedError) -> None:
        _log.warning("a login to the live page has failed: %s", error, extra={"subject": "login"})


def _thumbprint(key: P256Key) -> bytes:
    """Return the thumbprint of a browser's key. Raises ControlError 400."""
    try:
        return key_thumbprint(key)
    except InvalidProofError:
        raise problem_types.INVALID_REQUEST.error("key: expected a public key of P-256") from None


def user_name(uid: int) -> str:
    """Return the name of a user of this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # in a container
        return f"uid-{uid}"
