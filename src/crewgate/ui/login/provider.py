"""The OpenID provider of [ui.login]: its metadata, and who a code is for.

OpenID Connect Core 1.0, the authorization code flow (section 3.1), with a client secret by HTTP
Basic or none. Its methods block for seconds; other threads call them.
"""

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import quote_plus, urlsplit

import msgspec

from crewgate import limits
from crewgate.config import UILoginConfig
from crewgate.core.actors import ActorKind
from crewgate.errors import (
    ConfigurationError,
    ServiceConnectionError,
    SignedTokenError,
    UntrustedCertificateError,
)
from crewgate.identity_provider.key_sets import KeySet, downloaded_key_set
from crewgate.identity_provider.provider_request import ProviderRequest, provider_context
from crewgate.identity_provider.signed_tokens import ID_TOKEN_TYPES, SignedToken, TokenRules
from crewgate.runtime.secret_file import unreadable
from crewgate.ui.login.rights import source_of
from crewgate.ui.login.session import ProvenPerson, digest_of

_METADATA: Final = "/.well-known/openid-configuration"
_WHERE: Final = "[ui.login]"
_COMPARE: Final = f"compare {_WHERE} with the provider"
_SECRET_BYTES_MAX: Final = 4096


class Metadata(msgspec.Struct, frozen=True):
    """The metadata of a provider that are used (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    code_challenge_methods_supported: tuple[str, ...] = ("S256",)
    authorization_response_iss_parameter_supported: bool = False


class LoginProblem(NamedTuple):
    """Why nobody can log in now, and what to do, unless `why` says it already.

    `is_ours`: the cause is a file that the configuration names, and not the provider.
    """

    why: str
    mend: str = ""
    is_ours: bool = False


class _TokenAnswer(msgspec.Struct, frozen=True):
    id_token: str


class OpenIDProvider:
    """The provider; threads may share it. `clock` returns monotonic seconds.

    `before` is the problem of the configuration before this one. It counts until the end of the
    first `refresh`: until then nobody knows whether people can log in.
    """

    def __init__(
        self,
        login: UILoginConfig,
        clock: Callable[[], float] = time.monotonic,
        before: LoginProblem | None = None,
    ) -> None:
        self.login: Final = login
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: Metadata | None = None
        self._keys: KeySet | None = None
        self._loaded_at = self._tried_at = -float("inf")
        self._metadata_problem: LoginProblem | None = None
        self._secret_problem: LoginProblem | None = None
        self._before = before

    @property
    def problem(self) -> LoginProblem | None:
        """Why nobody can log in now; None if people can, as far as is known."""
        keys = "" if self._keys is None else self._keys.problem
        return (
            self._secret_problem
            or self._metadata_problem
            or (LoginProblem(keys, _COMPARE) if keys else None)
            or self._before
        )

    @property
    def known_metadata(self) -> Metadata | None:
        """The metadata, if they are at most an hour old; this does not block."""
        is_new = self._clock() - self._loaded_at <= limits.ui_metadata_seconds
        return self._metadata if is_new else None

    def metadata(self) -> Metadata:
        """Return the metadata; if there are no newer ones to be had, the last good ones.

        If there never were good ones, it raises ServiceConnectionError, or ConfigurationError if
        a file of the configuration is the cause.
        """
        with self._lock:
            if self.known_metadata is None:
                self._load(self._clock())
            if self._metadata is None:
                _raise(self._metadata_problem)
            return self._metadata

    def refresh(self) -> None:
        """Do what a login would do, so that `problem` says what it would meet.

        This reads the secret, and gets metadata and keys if they are due. It may block for seconds.
        """
        with suppress(ConfigurationError):
            self._secret()
        with suppress(ConfigurationError, ServiceConnectionError):
            self.metadata()
        if self._keys is not None:
            self._keys.refresh()
        self._before = None

    def person(self, code: str, verifier: str, nonce: str, redirect_uri: str) -> ProvenPerson:
        """Return the person whom a code is for.

        Raises:
            ServiceConnectionError: The provider does not answer, or refuses the code.
            ConfigurationError: A file of the configuration cannot be used.
            SignedTokenError: The ID token is not good, or names no person; the message says why.
        """
        metadata = self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        basic = self._secret()
        if basic is None:
            form["client_id"] = self.login.client_id
        context = login_context(self.login)
        answer = ProviderRequest(
            metadata.token_endpoint, context, what="the ID token", form=form, basic=basic
        ).result()
        try:
            id_token = msgspec.json.decode(answer, type=_TokenAnswer).id_token
        except (ValueError, RecursionError):
            raise SignedTokenError("the provider's answer to the code has no ID token") from None
        return self._verified(SignedToken(id_token), nonce)

    def _verified(self, token: SignedToken, nonce: str) -> ProvenPerson:
        """Return the person of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        login, claims, keys = self.login, token.claims, self._keys
        if keys is None:  # `metadata` makes them
            _raise(self._metadata_problem)
        if claims.get("iss") != login.issuer:
            _refuse(f"`iss` is not issuer of {_WHERE}")
        rules = TokenRules(
            where=_WHERE,
            audience=(login.client_id,),
            algorithms=login.algorithms,
            types=ID_TOKEN_TYPES,
            max_age_seconds=limits.ui_id_token_seconds,
            audience_key="client_id",
            age_key="",
        )
        token.verify(rules, keys, time.time())
        given = claims.get("nonce")
        if not isinstance(given, str) or digest_of(given) != digest_of(nonce):
            _refuse("`nonce` is not that of this login")
        if claims.get("azp", login.client_id) != login.client_id:
            _refuse(f"`azp` is not client_id of {_WHERE}: the token is for another application")
        name = _name(claims, login.username_claim)
        groups = _groups(claims, login.groups_claim)
        return ProvenPerson(ActorKind.PERSON.named(name), "login", source_of(login), groups)

    def _secret(self) -> tuple[str, str] | None:
        """Read the secret; see `read_client_secret`. Raises ConfigurationError."""
        try:
            found = read_client_secret(self.login)
        except ConfigurationError as error:
            self._secret_problem = LoginProblem(str(error), is_ours=True)
            raise
        self._secret_problem = None
        return found

    def _load(self, now: float) -> None:
        """Get the metadata, at most once in a pause; without new ones, the old ones stay."""
        if now - self._tried_at < limits.ui_metadata_retry_seconds:
            return
        self._tried_at = now
        issuer = self.login.issuer
        url = issuer.rstrip("/") + _METADATA
        try:
            context = login_context(self.login)
        except ConfigurationError as error:
            self._metadata_problem = LoginProblem(str(error), is_ours=True)
            return
        try:
            data = ProviderRequest(url, context, what="the metadata").result()
            found = parse_metadata(data, issuer, url)
        except UntrustedCertificateError as error:  # its text says what to do
            self._metadata_problem = LoginProblem(str(error))
            return
        except (ServiceConnectionError, ConfigurationError) as error:
            self._metadata_problem = LoginProblem(str(error), _COMPARE)
            return
        if self._metadata is None or found.jwks_uri != self._metadata.jwks_uri:
            self._keys = downloaded_key_set(_WHERE, found.jwks_uri, self.login.ca)
        self._metadata, self._loaded_at, self._metadata_problem = found, now, None


def login_context(login: UILoginConfig) -> ssl.SSLContext:
    """Return the TLS context that verifies the provider. Raises ConfigurationError."""
    try:
        return provider_context(login.ca)
    except ConfigurationError as error:
        raise ConfigurationError(f"{_WHERE} ca: {error}") from error


def read_client_secret(login: UILoginConfig) -> tuple[str, str] | None:
    """Return user and password for HTTP Basic (RFC 6749, section 2.3.1); None if there are none.

    Raises ConfigurationError.
    """
    path = login.client_secret
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(_SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{_WHERE} client_secret: {unreadable(path, error)}") from None
    try:
        secret = data.decode().strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(data) > _SECRET_BYTES_MAX or not secret.isprintable():
        raise ConfigurationError(
            f"{_WHERE} client_secret: {path}: expected one line, the secret of {login.client_id}"
        )
    return quote_plus(login.client_id), quote_plus(secret)


def parse_metadata(data: bytes, issuer: str, where: str) -> Metadata:
    """Return the metadata of this issuer. Raises ConfigurationError if they cannot be used."""
    try:
        found = msgspec.json.decode(data, type=Metadata)
    except (ValueError, RecursionError) as error:
        # The text of msgspec has the names of members and types, and no value.
        why = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
        raise ConfigurationError(f"{where}: no metadata of an OpenID provider: {why}") from None
    if found.issuer != issuer:
        raise ConfigurationError(
            f"{where}: the metadata name another `issuer` than {_WHERE}; write it as they do"
        )
    if "S256" not in found.code_challenge_methods_supported:
        raise ConfigurationError(f"{where}: the provider does not support PKCE with S256")
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        if not _is_https(url):
            raise ConfigurationError(f"{where}: the URL of an endpoint is not https")
    return found


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_place = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    return is_place and is_plain and not parts.fragment and "@" not in parts.netloc


def _name(claims: dict[str, Any], claim: str) -> str:
    name, most = claims.get(claim), limits.ui_person_chars_max
    if not isinstance(name, str) or not 1 <= len(name) <= most:
        _refuse(f"`{claim}` must be a text of 1 to {most} characters")
    if not name.isprintable() or name != name.strip():
        _refuse(f"`{claim}` has characters that cannot be printed, or blanks around it")
    if claim == "email" and claims.get("email_verified") is not True:
        _refuse("`email` names a person only if `email_verified` is true")
    return name


def _groups(claims: dict[str, Any], claim: str) -> tuple[str, ...]:
    """Return the groups of a person; some providers write a single one without a list."""
    found = claims.get(claim, [])
    groups = [found] if isinstance(found, str) else found
    is_list = isinstance(groups, list) and all(isinstance(each, str) for each in groups)
    if not is_list:
        _refuse(f"`{claim}` must be a list of texts")
    if len(groups) > limits.ui_groups_max:
        _refuse(f"`{claim}` has more than {limits.ui_groups_max} groups")
    # No configuration can name any other.
    most = limits.ui_group_chars_max
    return tuple(each for each in groups if len(each) <= most and each.isprintable())


def _raise(problem: LoginProblem | None) -> NoReturn:
    if problem is not None and problem.is_ours:
        raise ConfigurationError(problem.why)
    raise ServiceConnectionError("no answer yet; try again" if problem is None else problem.why)


def _refuse(why: str) -> NoReturn:
    raise SignedTokenError(why)
