"""The verifier: authorizes calls inside an application, on this machine's table or a private one.

`Verifier` answers a token and a tool's name with a `Permit` or a `Denial`. `request` and
`peer_certificates` read the call, `loaded_policy` has the gate that decides, `admission` and
`waiters` wait for credit. Gate and credit come from `attached` (with `pending_draws`) or from
`standalone` (with `inline_policy`). Nothing that a client sends raises an exception. An attached
process may draw credit, but cannot revoke.
"""

from crewgate.verifier.verifier import DecisionCallback, StandaloneVerifier, Verifier

__all__ = ["DecisionCallback", "StandaloneVerifier", "Verifier"]
