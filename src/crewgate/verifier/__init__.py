"""The verifier: authorizes calls inside an application, on this machine's table or a private one.

`Verifier` answers a token and a tool's name with a `Permit` or a `Denial`. `DPoPProof` is what a
request may have beside its token. `request_from_arguments`
and `peer_certificate_cache` read the call, `loaded_gate` has the gate that decides,
`call_admission` and `waiters` wait for credit. Gate and credit come from `attached` (with
`pending_draws`) or from `standalone` (with `policy_from_arguments`). Nothing that a client sends
raises an exception. An attached process may draw credit, but cannot revoke.
"""

from crewgate.verifier.dpop_proof import DPoPProof
from crewgate.verifier.verifier import DecisionCallback, StandaloneVerifier, Verifier

__all__ = ["DPoPProof", "DecisionCallback", "StandaloneVerifier", "Verifier"]
