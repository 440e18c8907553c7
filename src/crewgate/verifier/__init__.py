"""The in-process verifier: judges calls without a gateway, on this machine's table or its own."""

from crewgate.verifier.verifier import Sink, Verifier

__all__ = ["Sink", "Verifier"]
