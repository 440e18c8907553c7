"""Names the account for calls of one crew's orchestrators to another crew's tools by certificate.

To the gate, such an account is a crew like any other, with its own ceilings and branches; no
configured crew can have its name. This module also names the branches of its runs.
"""

from hashlib import blake2b
from typing import Final
from uuid import UUID

from crewgate.core.x509.identity_extension import Identity

# A claim may have this character (core/tokens/claims), but the name of a crew may not.
SEPARATOR: Final = ":"
# The issuer of tokens that never leave the process that signs them.
ISSUER: Final = "crewgate:crossing"
# The `agent_role` of a caller by certificate.
ROLE: Final = "orchestrator"
_DERIVED: Final = 8  # the version of a UUID that is derived (RFC 9562, section 5.8)


def account(source: str, target: str) -> str:
    """Return the name of the account for calls of crew `source` to tools of crew `target`."""
    return f"{source}{SEPARATOR}{target}"


def is_account(crew: str) -> bool:
    """Return whether this is the name of a cross-crew account, not of a crew."""
    return SEPARATOR in crew


def caller(crew: str) -> str:
    """Return the crew that calls: the source of an account, or the crew itself."""
    return crew.partition(SEPARATOR)[0]


def grant_id(serial: str, nonce: str) -> str:
    """Return the `jti` of a token that is signed for a certificate (serial in hexadecimal)."""
    return f"{serial}{SEPARATOR}{nonce}"


def certificate(crew: str, grant: str) -> str:
    """Return the serial of the certificate of a call on an account; empty for a crew's call."""
    return grant.partition(SEPARATOR)[0] if is_account(crew) else ""


def run_branch(name: str, identity: Identity) -> str:
    """Return the UUID text of the branch of one run: one orchestrator process on one account.

    It is derived, so all workers charge the same branch, also after a restart, and with each
    certificate of the process.
    """
    text = f"{name}\0{identity.name}\0".encode() + identity.instance
    digest = bytearray(blake2b(text, digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | _DERIVED << 4
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def may_be_run(branch: str) -> bool:
    """Return whether the UUID text of a branch has the form that `run_branch` gives."""
    return UUID(branch).version == _DERIVED
