"""The claim `sub` of a run on behalf of a person: a provider's name, and the person's own text.

An identity provider may call a person anything; a claim of ours has few characters. So the text is
escaped, and two persons never get the same claim: each byte of UTF-8 that a claim cannot hold, and
the escape character itself, becomes `/` with two hexadecimal digits in upper case.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from crewgate import limits

_SEPARATOR = ":"
_ESCAPED = re.compile(rb"[^A-Za-z0-9._:@-]")


class ProvenSubject(NamedTuple):
    """The `sub` of a person whom an identity provider has named; its verifier makes it."""

    text: str


def encode_subject(provider: str, subject: str) -> str:
    """Return the `sub` of a person whom the provider of this name calls `subject`.

    Raises ValueError if the text is empty, no text in Unicode, or too long for a claim.
    """
    escaped = _ESCAPED.sub(lambda found: b"/%02X" % found[0][0], subject.encode()).decode()
    text = f"{provider}{_SEPARATOR}{escaped}"
    if not subject or len(text) > limits.claim_chars_max:
        raise ValueError(
            f"it has {len(text)} characters with the provider's name, each other than A-Z a-z 0-9 "
            f". _ : @ - counted as three; expected at most {limits.claim_chars_max}"
        )
    return text


def provider_in(subject: str, providers: Collection[str]) -> str | None:
    """Return the provider whose prefix a `sub` has, in upper or lower case; None if none."""
    prefix, separator, _ = subject.partition(_SEPARATOR)
    name = prefix.lower()
    return name if separator and name in providers else None
