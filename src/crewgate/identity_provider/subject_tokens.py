"""Verifies the token of an identity provider that says on whose behalf a run begins.

It takes ID tokens (OpenID Connect Core 1.0, section 2) and access tokens in JWT (RFC 9068). An
error says which rule the token breaks, and never repeats a text of the token.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

from crewgate import limits
from crewgate.config import IdentityProviderConfig
from crewgate.core.tokens.subjects import ProvenSubject, encode_subject
from crewgate.errors import SignedTokenError, SubjectTokenError
from crewgate.identity_provider.key_sets import key_set
from crewgate.identity_provider.signed_tokens import (
    ACCESS_TOKEN_TYPES,
    ID_TOKEN_TYPES,
    SignedToken,
    TokenRules,
)


class SubjectTokenVerifier:
    """Verifies tokens of the configured providers. Threads may share it."""

    def __init__(self, providers: Iterable[IdentityProviderConfig]) -> None:
        self._providers = {each.issuer: (each, key_set(each)) for each in providers}

    def __repr__(self) -> str:
        names = ", ".join(provider.name for provider, _ in self._providers.values())
        return f"<SubjectTokenVerifier of {names or 'no provider'}>"

    def refresh(self) -> dict[str, str]:
        """Get new keys where they are due; return what is wrong with each provider, by name.

        The text of a good provider is empty. This may block for seconds for each provider.
        """
        for _, keys in self._providers.values():
            keys.refresh()
        return {provider.name: keys.problem for provider, keys in self._providers.values()}

    def claims_known_provider(self, token: str) -> bool:
        """Return whether a token says that one of the providers has issued it, unproven."""
        try:
            return SignedToken(token).claims.get("iss") in self._providers
        except (SignedTokenError, TypeError):
            return False

    def verify(self, token: str, crew: str, now: float) -> ProvenSubject:
        """Return the subject of a token for a run of `crew`; `now` is in seconds since the epoch.

        Blanks and line breaks around the token do not count. This may block for seconds to get the
        provider's keys.

        Raises:
            SubjectTokenError: The token is not good; the message says why.
            ServiceConnectionError: The provider's keys cannot be had now.
        """
        try:
            return self._verified(SignedToken(token), crew, now)
        except SignedTokenError as error:
            raise SubjectTokenError(f"subject token: {error}") from None

    def _verified(self, token: SignedToken, crew: str, now: float) -> ProvenSubject:
        issuer = token.claims.get("iss")
        entry = self._providers.get(issuer) if isinstance(issuer, str) else None
        if entry is None:
            names = ", ".join(each.name for each, _ in self._providers.values()) or "none"
            _refuse(f"`iss` names no configured identity provider; configured are: {names}")
        provider, keys = entry
        if provider.crews is not None and crew not in provider.crews:
            _refuse(f"crew {crew} is not in crews of [identity_provider.{provider.name}]")
        rules = TokenRules(
            where=f"[identity_provider.{provider.name}]",
            audience=provider.audience,
            algorithms=provider.algorithms,
            types=ID_TOKEN_TYPES | ACCESS_TOKEN_TYPES,
            max_age_seconds=provider.max_age_seconds,
        )
        token.verify(rules, keys, now)
        return ProvenSubject(_subject(token.claims, provider))


def _subject(found: dict[str, Any], provider: IdentityProviderConfig) -> str:
    name = provider.subject_claim
    subject = found.get(name)
    if not isinstance(subject, str) or not 1 <= len(subject) <= limits.subject_chars_max:
        _refuse(f"`{name}` must be a text of 1 to {limits.subject_chars_max} characters")
    if name == "email" and found.get("email_verified") is not True:
        _refuse("`email` names a person only if `email_verified` is true")
    try:
        return encode_subject(provider.name, subject)
    except ValueError as error:
        # A lone surrogate cannot be encoded, and such an error has the text.
        why = "it is no text in Unicode" if isinstance(error, UnicodeError) else str(error)
        raise SubjectTokenError(
            f"subject token: `{name}` cannot name the subject of a run: {why}; choose another "
            f"subject_claim in [identity_provider.{provider.name}]"
        ) from None


def _refuse(why: str) -> NoReturn:
    raise SubjectTokenError(f"subject token: {why}")
