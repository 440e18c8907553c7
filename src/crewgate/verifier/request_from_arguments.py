"""Makes a `GateRequest` from the arguments of a call, or refuses the call at once.

It checks the client certificate, and signs a token if the call has a certificate only. Nothing that
a client sends raises an exception. The caller's TLS handshake must have verified the certificate.
"""

import operator
import time

from msgspec import structs

from crewgate import limits
from crewgate._native.presenter import Presenter
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.policy.certificate_token_signer import SignedToken
from crewgate.verifier.dpop_proof import DPoPProof, native_proof
from crewgate.verifier.loaded_gate import UNKNOWN, GateRequest, LoadedGate
from crewgate.verifier.peer_certificate_cache import CrewCertificate

_MISSING = Denial(Reason.MISSING_TOKEN)
_INVALID = Denial(Reason.INVALID_TOKEN)
_UNPROVEN = Denial(Reason.BINDING_MISMATCH)
_CHARS = limits.token_bytes_max + 1  # a longer token is cut to this: the gate refuses it anyway


def make_request(
    policy: LoadedGate,
    token: str | bytes | None,
    tool: str,
    peer_certificate: bytes | None,
    cost_micro: int | None = None,
    proof: DPoPProof | None = None,
) -> GateRequest | Denial:
    """Return the request; a certificate that is not good is refused whatever the token.

    Raises:
        ValueError: `cost_micro` is negative, or above what any call may cost. Or
            `peer_certificate` is PEM. Or the URL of `proof` is none.
        TypeError: `cost_micro` is not an integer, or `peer_certificate` not bytes.
    """
    try:
        cost = -1 if cost_micro is None else operator.index(cost_micro)
    except TypeError:
        raise TypeError(f"cost_micro={cost_micro!r}: pass an integer of micro-credits") from None
    if cost_micro is not None and not 0 <= cost <= limits.price_micro_max:
        raise ValueError(
            f"cost_micro={cost}: a call costs 0 to {limits.price_micro_max} micro-credits"
        )
    try:
        number = policy.numbers.get(tool, UNKNOWN)
    except TypeError:  # not hashable, so not a tool's name
        number = UNKNOWN
    verified = None
    if peer_certificate is not None:
        now = time.time()
        verified = policy.peers.admit(peer_certificate, policy.table, now)
        if verified is None:
            return _UNPROVEN
        if token is None:
            request = _by_certificate(policy, verified, number, now)
            return (
                structs.replace(request, cost=cost) if isinstance(request, GateRequest) else request
            )
    if isinstance(token, str):
        # Any other character becomes "?", which is not base64url, so the token is refused.
        token = token[:_CHARS].encode("ascii", "replace")
    elif type(token) is not bytes:
        return _MISSING if token is None else _INVALID
    return GateRequest(policy, token, number, _presenter(verified, proof), cost)


def _presenter(certificate: CrewCertificate | None, proof: DPoPProof | None) -> Presenter | None:
    if certificate is None and proof is None:
        return None
    crew = digest = branch = None
    if certificate is not None:
        crew, digest = certificate.identity.crew, certificate.certificate_digest
        branch = certificate.branch_key
    if proof is None:
        return Presenter(crew, digest, branch=branch)
    shown, nonce = native_proof(proof), proof.nonce_required
    proof.presenter = Presenter(crew, digest, shown, branch=branch, nonce_required=nonce)
    return proof.presenter


def _by_certificate(
    policy: LoadedGate, verified: CrewCertificate, tool: int, now: float
) -> GateRequest | Denial:
    """Return the request of a call without a token; a crossing must lead to the tool's owner."""
    if tool == UNKNOWN:
        return _MISSING
    signed = policy.crossings.find(verified, policy.policy.tools[tool].owner, now)
    if isinstance(signed, SignedToken):
        presenter = Presenter(signed.account, verified.certificate_digest)
        return GateRequest(policy, signed.token, tool, presenter)
    return _MISSING if signed is None else Denial(signed)
