"""What an embedder asks about becomes a case for the gate, or is refused before it.

Decides whose certificate a call came with, and what it is judged by without a token. What a client
sends raises nothing. The handshake's proof is the caller's word.
"""

import operator
import time

from msgspec import structs

from crewgate import limits
from crewgate.core.problem_types import Reason
from crewgate.core.verdict import Denial
from crewgate.policy.certificate_tokens import SignedToken
from crewgate.verifier.loaded_policy import UNKNOWN, DecisionRequest, LoadedPolicy
from crewgate.verifier.peer_certificates import PeerCertificates, VerifiedCertificate

MISSING = Denial(Reason.MISSING_TOKEN)
INVALID = Denial(Reason.INVALID_TOKEN)
_UNPROVEN = Denial(Reason.BINDING_MISMATCH)
CHARS = limits.token_bytes_max + 1  # of a longer token, the gate needs only see that it is longer


def make_request(
    policy: LoadedPolicy,
    peers: PeerCertificates,
    token: str | bytes | None,
    tool: str,
    peer_certificate: bytes | None,
    cost_micro: int | None = None,
) -> DecisionRequest | Denial:
    """The case of a call; a certificate that is not good is refused whatever the token.

    Raises:
        ValueError: `cost_micro` is none that a call can have.
        TypeError: `cost_micro` is no integer.
    """
    cost = -1 if cost_micro is None else operator.index(cost_micro)
    if cost_micro is not None and not 0 <= cost <= limits.price_micro_max:
        raise ValueError(
            f"cost_micro={cost}: a call costs 0 to {limits.price_micro_max} micro-credits"
        )
    try:
        number = policy.numbers.get(tool, UNKNOWN)
    except TypeError:  # unhashable, and so no name
        number = UNKNOWN
    crew = None
    if peer_certificate is not None:
        now = time.time()
        proven = peers.admit(peer_certificate, policy.table, now)
        if proven is None:
            return _UNPROVEN
        if token is None:
            request = _by_certificate(policy, proven, number, now)
            return (
                structs.replace(request, cost=cost)
                if isinstance(request, DecisionRequest)
                else request
            )
        crew = proven.identity.crew
    if isinstance(token, str):
        # Nothing that "?" stands for is base64url, so it is refused as it should be.
        token = token[:CHARS].encode("ascii", "replace")
    elif type(token) is not bytes:
        return MISSING if token is None else INVALID
    return DecisionRequest(policy, token, number, crew, cost)


def _by_certificate(
    policy: LoadedPolicy, proven: VerifiedCertificate, tool: int, now: float
) -> DecisionRequest | Denial:
    """A call without a token: a crossing must lead to the tool's owner."""
    if tool == UNKNOWN:
        return MISSING
    signed = policy.crossings.find(proven, policy.policy.tools[tool].owner, now)
    if isinstance(signed, SignedToken):
        return DecisionRequest(policy, signed.token, tool, signed.account)
    return MISSING if signed is None else Denial(signed)
