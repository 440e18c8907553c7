"""The tables [identity_provider.NAME]: who says on whose behalf a run acts."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import FilePath
from crewgate.core.tokens.claims import is_digest

# Signatures with a key pair only: who can verify an HMAC can also make it.
SubjectTokenAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
]  # fmt: skip

_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
ISSUER: Final = values.pattern_text(
    f"a text of 1 to {limits.issuer_chars_max} printable ASCII characters without blanks",
    _PRINTABLE,
    limits.issuer_chars_max,
)
CLIENT_ID: Final = values.pattern_text(
    "a text of 1 to 255 printable ASCII characters without blanks", _PRINTABLE, 255
)
CLAIM_NAME: Final = values.pattern_text(
    'the name of a claim, such as "sub" or "email"', _PRINTABLE, 128
)
_THUMBPRINT: Final = ValueParser(
    "the SHA-256 thumbprint of a key (RFC 7638) in base64url: 43 characters",
    values.passing(values.string, is_digest),
)


def _jwks_url(value: object) -> str:
    text = values.string(value)
    parts = urlsplit(text)
    is_place = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    is_plain = _PRINTABLE.fullmatch(text) is not None and "#" not in text
    if not is_place or not is_plain or "@" in parts.netloc:
        raise ValueError
    if len(text) > limits.jwks_url_chars_max:
        raise ValueError(f"at most {limits.jwks_url_chars_max} characters are possible")
    return text


_JWKS_URL: Final = ValueParser('"https://…", without user and fragment', _jwks_url)


class IdentityProviderConfig(msgspec.Struct, frozen=True):
    """One identity provider: exactly one of `jwks` and `jwks_url` says where its keys are."""

    name: str
    issuer: Annotated[str, ISSUER, "Value that `iss` of its tokens must have, to the letter."]
    audience: Annotated[
        tuple[str, ...],
        values.listed(CLIENT_ID, limits.audiences_max, 1),
        "Client ids of your applications: `aud` of a token must have one of them. If `aud` has "
        "several values, `azp` must be one of them as well.",
    ]
    jwks: Annotated[
        FilePath | None,
        "JWKS file: its public keys. Processes load each change.",
        Key(absent="none; give `jwks_url`"),
    ] = None
    jwks_url: Annotated[
        str | None,
        _JWKS_URL,
        "URL of its public keys: the `jwks_uri` of its metadata.",
        Key(absent="none; give `jwks`"),
    ] = None
    ca: Annotated[
        FilePath | None,
        "PEM file: the roots that may sign the certificate of `jwks_url`.",
        Key(absent="the roots of the system"),
    ] = None
    pinned_keys: Annotated[
        tuple[str, ...],
        values.listed(_THUMBPRINT, limits.provider_keys_max),
        "Thumbprints (RFC 7638) of the only keys to accept. If the provider changes its keys, "
        "change this list first.",
        Key(absent="each key of the JWKS"),
    ] = ()
    algorithms: Annotated[
        tuple[SubjectTokenAlgorithm, ...],
        values.listed(values.word(SubjectTokenAlgorithm), 11, 1),
        "Signature algorithms to accept.",
    ] = ("RS256", "ES256", "EdDSA")
    subject_claim: Annotated[
        str,
        CLAIM_NAME,
        'Claim that names the person. Of "email", the provider must say `email_verified`.',
    ] = "sub"
    max_age_seconds: Annotated[
        int,
        values.integer(1, limits.subject_token_age_seconds_max),
        "Time since `iat` for which a token can begin runs.",
    ] = limits.subject_token_age_seconds
    crews: Annotated[
        tuple[str, ...] | None,
        values.listed(values.NAME, limits.crews_max, 1),
        "Crews whose orchestrators can begin runs with its tokens.",
        Key(absent="each crew"),
    ] = None

    @property
    def files(self) -> list[Path]:
        """The files that it names; they have public keys and certificates."""
        return [path for path in (self.jwks, self.ca) if path is not None]

    def check(self, section: TOMLTableReader) -> None:
        """Note keys in no place or in two, and a CA without a use."""
        if (self.jwks is None) == (self.jwks_url is None):
            section.problem("needs its public keys: give either `jwks` or `jwks_url`")
        if self.ca is not None and self.jwks_url is None:
            section.problem("has an effect only with jwks_url; remove it", "ca")
