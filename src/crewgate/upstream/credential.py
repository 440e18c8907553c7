"""Reads the credential that the gateway presents to an upstream or a receiver; never shows it."""

import os
from pathlib import Path

from crewgate.config import CredentialConfig, UpstreamConfig
from crewgate.core.http_types import HeaderField
from crewgate.errors import ConfigurationError
from crewgate.runtime.secret_file import unreadable


def read_credential(upstream: UpstreamConfig) -> HeaderField | None:
    """Return the field with the gateway's credential for an upstream; None if it has none.

    Raises ConfigurationError if it cannot be read or cannot be sent.
    """
    if upstream.credential is None:
        return None
    return credential_field(f"upstream {upstream.name}", upstream.credential)


def credential_field(owner: str, credential: CredentialConfig) -> HeaderField:
    """Return the field with a credential of `owner`, such as `upstream search`.

    Raises ConfigurationError if it cannot be read or cannot be sent.
    """
    value = credential.prefix + _secret(owner, credential)
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(
            f"{owner}: the credential in {_describe(credential)} is not printable ASCII; a header "
            "field cannot carry it"
        )
    return credential.header.encode(), value.encode()


def _secret(owner: str, credential: CredentialConfig) -> str:
    try:
        if credential.file is not None:
            value = Path(credential.file).read_text(encoding="utf-8").strip()
        else:
            value = os.environ.get(credential.env or "", "").strip()
    except OSError as error:
        why = unreadable(Path(credential.file or ""), error)
        raise ConfigurationError(f"{owner}: the credential cannot be read: {why}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{owner}: the credential in {_describe(credential)} is no text"
        ) from None
    if not value:
        raise ConfigurationError(
            f"{_describe(credential)}: the credential of {owner} is empty; put the secret there"
        )
    return value


def _describe(credential: CredentialConfig) -> str:
    return f"file {credential.file}" if credential.file else variable_in_words(credential)


def variable_in_words(credential: CredentialConfig) -> str:
    """Return the name of the variable of a credential, unless the name may be the secret itself."""
    name = credential.env or ""
    return f"variable {name}" if name.isupper() or name in os.environ else "the variable of `env`"
