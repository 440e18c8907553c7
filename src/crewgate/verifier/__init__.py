"""The verifier: judges calls in a process of one's own, on this machine's table or a private one.

`Verifier` answers a token and a tool's name with a `Permit` or a `Denial`. `request` and
`peer_certificates` say what a call asks, `loaded_policy` is the gate that judges, `admission` and
`waiters` wait for credit. Judge and credit come from `attached` (with `pending_draws`) or from
`standalone` (with `inline_policy`). Nothing that a client sends raises an exception. An attached
process may draw credit; it revokes nothing.
"""

from crewgate.verifier.verifier import DecisionCallback, StandaloneVerifier, Verifier

__all__ = ["DecisionCallback", "StandaloneVerifier", "Verifier"]
