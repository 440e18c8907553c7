"""The verifier: judges calls without a gateway, on this machine's table or its own."""

from crewgate.verifier.verifier import DecisionCallback, StandaloneVerifier, Verifier

__all__ = ["DecisionCallback", "StandaloneVerifier", "Verifier"]
