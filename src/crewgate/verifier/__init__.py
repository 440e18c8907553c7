"""The in-process verifier: judges calls without a gateway, on this machine's table or its own."""

from crewgate.verifier.verifier import DecisionCallback, Verifier

__all__ = ["DecisionCallback", "Verifier"]
