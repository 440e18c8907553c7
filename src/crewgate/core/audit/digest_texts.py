"""Writes the digests by which rules on branches compare calls, as the audit has them."""

from crewgate.core.rules.activity import EXEMPT

EXEMPT_CALL = "exempt"


def call_text(digest: int) -> str:
    """Return the text of the digest of a call; empty if it has none."""
    return EXEMPT_CALL if digest == EXEMPT else digest_text(digest)


def digest_text(digest: int) -> str:
    """Return the text of a digest of a call or an answer; empty if it is none."""
    return f"{digest:016x}" if digest > EXEMPT else ""
