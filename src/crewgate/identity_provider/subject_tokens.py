"""Verifies the token of an identity provider that says on whose behalf a run begins.

It takes ID tokens (OpenID Connect Core 1.0, section 2) and access tokens in JWT (RFC 9068). An
error says which rule the token breaks, and never repeats a text of the token.
"""

import base64
import json
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

import jwt
import msgspec
from jwt.algorithms import OKPAlgorithm
from msgspec import Meta

from crewgate import limits
from crewgate.config import IdentityProviderConfig
from crewgate.core.tokens.subjects import ProvenSubject, encode_subject
from crewgate.errors import SubjectTokenError
from crewgate.identity_provider.key_sets import KeySet, key_set

# The types of ID tokens and of access tokens (RFC 9068, section 2.1), in lower case. Other tokens
# of a provider, such as logout tokens, have the same issuer, audience and keys.
_TYPES = {"", "jwt", "at+jwt", "application/at+jwt"}
_ED25519 = "Ed25519"  # the name of RFC 9864, which PyJWT may not know
_Seconds = Annotated[float, Meta(ge=0, le=limits.time_seconds_max)]  # whole numbers too


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""
    typ: str = ""


class _Claims(msgspec.Struct, frozen=True):
    aud: str | list[str]
    exp: _Seconds
    iat: _Seconds
    nbf: _Seconds = 0
    azp: str = ""


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
            return _members(_parts(token.strip())[1]).get("iss") in self._providers
        except (SubjectTokenError, TypeError):
            return False

    def verify(self, token: str, crew: str, now: float) -> ProvenSubject:
        """Return the subject of a token for a run of `crew`; `now` is in seconds since the epoch.

        Blanks and line breaks around the token do not count. This may block for seconds to get the
        provider's keys.

        Raises:
            SubjectTokenError: The token is not good; the message says why.
            ServiceConnectionError: The provider's keys cannot be had now.
        """
        token = token.strip()
        parts = _parts(token)
        found = _members(parts[1])
        issuer = found.get("iss")
        entry = self._providers.get(issuer) if isinstance(issuer, str) else None
        if entry is None:
            names = ", ".join(each.name for each, _ in self._providers.values()) or "none"
            _refuse(f"`iss` names no configured identity provider; configured are: {names}")
        provider, keys = entry
        if provider.crews is not None and crew not in provider.crews:
            _refuse(f"crew {crew} is not in crews of [identity_provider.{provider.name}]")
        header = _members(parts[0])
        if "crit" in header:
            _refuse("`crit` asks for extensions, and this verifier knows none")
        if "events" in found:
            _refuse("it has `events`, so it reports an event (RFC 8417) and is no ID token")
        _check_signature(token, _convert(header, _Header), provider, keys)
        _check_claims(_convert(found, _Claims), provider, now)
        return ProvenSubject(_subject(found, provider))


def _parts(token: str) -> list[bytes]:
    """Return header, payload and signature of a compact JWS (RFC 7515, section 7.1), decoded."""
    if len(token) > limits.subject_token_bytes_max:
        _refuse(f"it has more than {limits.subject_token_bytes_max} characters")
    texts = token.split(".")
    if len(texts) != 3:  # noqa: PLR2004 - header, payload, signature
        _refuse("it is no signed JWT of three parts")
    try:
        return [
            base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)
            for text in texts
        ]
    except ValueError:
        _refuse("a part is not in base64url")


def _members(data: bytes) -> dict[str, Any]:
    """Return the members of a JSON object; a name must not occur twice (RFC 7519, section 4)."""
    try:
        # Decoded before: json.loads() would guess another encoding of bytes.
        found = json.loads(data.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        _refuse("a part is not a JSON object with distinct names")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError


def _convert(members: dict[str, Any], kind: type[Any]) -> Any:  # noqa: ANN401 - one of two structs
    try:
        return msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        # The text of msgspec has the names of members and types, and no value.
        raise SubjectTokenError(f"subject token: {error}") from None


def _check_signature(
    token: str, header: _Header, provider: IdentityProviderConfig, keys: KeySet
) -> None:
    where = f"[identity_provider.{provider.name}]"
    if header.alg not in provider.algorithms:
        _refuse(f"`alg` is not in algorithms of {where}: {', '.join(provider.algorithms)}")
    if header.typ.lower() not in _TYPES:
        _refuse("`typ` is neither that of an ID token nor that of an access token (RFC 9068)")
    jws = jwt.PyJWS()
    if _ED25519 not in jws.get_algorithms():
        jws.register_algorithm(_ED25519, OKPAlgorithm())
    found = keys.find(header.kid, header.alg)
    if not found:
        _refuse(f"{where} has no key with this `kid` and `alg`; has the provider another JWKS?")
    for key in found:
        try:
            jws.decode(token, key.public, algorithms=[header.alg])
        except jwt.PyJWTError:
            continue
        return
    _refuse(f"the signature is not that of a key of {where}")


def _check_claims(claims: _Claims, provider: IdentityProviderConfig, now: float) -> None:
    where, leeway = f"[identity_provider.{provider.name}]", limits.subject_token_leeway_seconds
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if not set(audiences) & set(provider.audience):
        _refuse(f"`aud` has no value of audience of {where}: the token is for another application")
    if len(audiences) > 1 and claims.azp not in provider.audience:
        _refuse(f"`aud` has several values, so `azp` must be in audience of {where}")
    if now > claims.exp + leeway:
        _refuse("it has expired; get a new one from the provider")
    if now < max(claims.iat, claims.nbf) - leeway:
        _refuse("it is not valid yet (`iat` or `nbf`); compare the clocks of provider and gateway")
    if now > claims.iat + provider.max_age_seconds + leeway:
        _refuse(
            f"it is older than max_age_seconds of {where}, {provider.max_age_seconds} s; get a new "
            "one from the provider"
        )


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
