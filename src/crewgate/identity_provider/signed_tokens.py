"""Verifies a signed JWT of an identity provider: its form, its signature and its registered claims.

An error says which rule the token breaks, and never repeats a text of the token.
"""

import base64
import json
from collections.abc import Collection
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import jwt
import msgspec
from jwt.algorithms import OKPAlgorithm
from msgspec import Meta

from crewgate import limits
from crewgate.errors import SignedTokenError
from crewgate.identity_provider.key_sets import KeySet

# The types of ID tokens and of access tokens (RFC 9068, section 2.1), in lower case. Other tokens
# of a provider, such as logout tokens, have the same issuer, audience and keys.
ID_TOKEN_TYPES: Final = frozenset({"", "jwt"})
ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_ED25519 = "Ed25519"  # the name of RFC 9864, which PyJWT may not know
_Seconds = Annotated[float, Meta(ge=0, le=limits.time_seconds_max)]  # whole numbers too


class TokenRules(NamedTuple):
    """What a token must fulfil.

    `where` is the table of the configuration that says so, for errors, and `audience_key` and
    `age_key` are its keys; without `age_key` nobody can change the age. `types` are values of `typ`
    in lower case.
    """

    where: str
    audience: Collection[str]
    algorithms: Collection[str]
    types: Collection[str]
    max_age_seconds: int
    audience_key: str = "audience"
    age_key: str = "max_age_seconds"


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


class SignedToken:
    """A token in its compact form (RFC 7515, section 7.1), whose signature is not verified yet.

    `claims` are those that it says. Blanks and line breaks around it do not count.
    """

    def __init__(self, token: str) -> None:
        """Parse a token. Raises SignedTokenError if it is no signed JWT."""
        self._text = token.strip()
        self._header, payload, _ = _parts(self._text)
        self.claims: Final = _members(payload)

    def __repr__(self) -> str:
        return "<SignedToken>"

    def verify(self, rules: TokenRules, keys: KeySet, now: float) -> None:
        """Verify the token at `now`, in seconds since the epoch; the caller compares `iss`.

        This may block for seconds to get the provider's keys.

        Raises:
            SignedTokenError: The token is not good; the message says why.
            ServiceConnectionError: The provider's keys cannot be had now.
        """
        header = _members(self._header)
        if "crit" in header:
            _refuse("`crit` asks for extensions, and this verifier knows none")
        if "events" in self.claims:
            _refuse("it has `events`, so it reports an event (RFC 8417) and is no ID token")
        _check_signature(self._text, _convert(header, _Header), rules, keys)
        _check_claims(_convert(self.claims, _Claims), rules, now)


def _parts(token: str) -> list[bytes]:
    """Return header, payload and signature, decoded."""
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
        raise SignedTokenError(str(error)) from None


def _check_signature(token: str, header: _Header, rules: TokenRules, keys: KeySet) -> None:
    if header.alg not in rules.algorithms:
        _refuse(f"`alg` is not in algorithms of {rules.where}: {', '.join(rules.algorithms)}")
    if header.typ.lower() not in rules.types:
        is_both = not ACCESS_TOKEN_TYPES.isdisjoint(rules.types)
        _refuse(
            "`typ` is neither that of an ID token nor that of an access token (RFC 9068)"
            if is_both
            else "`typ` is not that of an ID token"
        )
    jws = jwt.PyJWS()
    if _ED25519 not in jws.get_algorithms():
        jws.register_algorithm(_ED25519, OKPAlgorithm())
    found = keys.find(header.kid, header.alg)
    if not found:
        _refuse(
            f"{rules.where} has no key with this `kid` and `alg`; has the provider another JWKS?"
        )
    for key in found:
        try:
            jws.decode(token, key.public, algorithms=[header.alg])
        except jwt.PyJWTError:
            continue
        return
    _refuse(f"the signature is not that of a key of {rules.where}")


def _check_claims(claims: _Claims, rules: TokenRules, now: float) -> None:
    where, leeway = rules.where, limits.subject_token_leeway_seconds
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    key = f"{rules.audience_key} of {where}"
    if not set(audiences) & set(rules.audience):
        _refuse(f"`aud` has no value of {key}: the token is for another application")
    if len(audiences) > 1 and claims.azp not in rules.audience:
        _refuse(f"`aud` has several values, so `azp` must be in {key}")
    if now > claims.exp + leeway:
        _refuse("it has expired; get a new one from the provider")
    if now < max(claims.iat, claims.nbf) - leeway:
        _refuse("it is not valid yet (`iat` or `nbf`); compare the clocks of provider and gateway")
    if now > claims.iat + rules.max_age_seconds + leeway:
        limit = f"{rules.age_key} of {where}, " if rules.age_key else ""
        _refuse(
            f"it is older than {limit}{rules.max_age_seconds} s; get a new one from the provider"
        )


def _refuse(why: str) -> NoReturn:
    raise SignedTokenError(why)
