"""A line of JSON whose last member is the Ed25519 signature (RFC 8032) of all before it.

It is signed as it stands there, so that no reader has to encode it in the same way. A context
before the signed bytes keeps a signature for one purpose from being good for another.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import BadSignatureError

from crewgate.audit.checkpoints.signing_key import CheckpointKey

_MEMBER = b',"signature":"'
_SIGNATURE = re.compile(rb"[A-Za-z0-9_-]{86}", re.ASCII)


class SignedLine(NamedTuple):
    """The JSON object that was signed, and its signature in base64url."""

    body: bytes
    signature: bytes

    def is_signed(self, context: bytes, key: str) -> bool:
        """Return whether a public key (base64url) has signed it.

        Each key and each signature has one text: no other one is good.
        """
        try:
            public = urlsafe_b64decode(key + "=")
            signature = urlsafe_b64decode(self.signature + b"==")
            crypto_sign_open(signature + context + self.body, public)
        except (BadSignatureError, ValueError):
            return False
        return _text(signature) == self.signature and _text(public) == key.encode()


def sign(context: bytes, body: bytes, key: CheckpointKey) -> bytes:
    """Return the line of a JSON object that has members, without a newline."""
    signature = crypto_sign(context + body, key.signing)[:crypto_sign_BYTES]
    return body[:-1] + _MEMBER + _text(signature) + b'"}'


def split(line: bytes) -> SignedLine:
    """Split a line without its newline. Raises ValueError if it has no signature."""
    body, found, rest = line.rpartition(_MEMBER)
    signature = rest.removesuffix(b'"}')
    if not found or len(rest) - len(signature) != len(b'"}') or not _SIGNATURE.fullmatch(signature):
        raise ValueError("it has no signature")
    return SignedLine(body + b"}", signature)


def _text(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
