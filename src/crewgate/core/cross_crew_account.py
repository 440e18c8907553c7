"""The account of calls that one crew's orchestrators make to another crew's tools by certificate.

To the gate it is a crew like any other, with ceilings and branches of its own; no configured crew
can have its name. Decides what it and the branches of its runs are called. Knows neither
configuration nor signatures.
"""

from hashlib import blake2b
from typing import Final
from uuid import UUID

from crewgate.core.x509.identity import Identity

SEPARATOR: Final = ":"  # a claim may have it (core/tokens/claims), the name of a crew may not
ISSUER: Final = "crewgate:crossing"  # of tokens that never leave the process that signs them
ROLE: Final = "orchestrator"  # `agent_role` of whoever calls by certificate


def account(source: str, target: str) -> str:
    """The name of the account from crew `source` to the tools of crew `target`."""
    return f"{source}{SEPARATOR}{target}"


def is_account(crew: str) -> bool:
    """Whether this is the name of such an account, and not of a crew."""
    return SEPARATOR in crew


def caller(crew: str) -> str:
    """The crew that calls: an account's source; any other crew is its own."""
    return crew.partition(SEPARATOR)[0]


def grant_id(serial: str, nonce: str) -> str:
    """The `jti` of what is signed for the certificate of this serial (hexadecimal)."""
    return f"{serial}{SEPARATOR}{nonce}"


def certificate(crew: str, grant: str) -> str:
    """The serial of the certificate that a call of `crew` was judged by; empty for a token's."""
    return grant.partition(SEPARATOR)[0] if is_account(crew) else ""


def run_branch(name: str, identity: Identity) -> str:
    """UUID text of the branch of one run: one process of an orchestrator, on one account.

    Derived (RFC 9562 §5.8), so that every worker, a restarted one too, charges the same branch
    whatever certificate of the process it sees.
    """
    text = f"{name}\0{identity.name}\0".encode() + identity.instance
    digest = bytearray(blake2b(text, digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))
