"""Guards an ASGI application that is a tool's own server, with the verdicts of a `Verifier`."""

from crewgate.asgi.middleware import CrewgateMiddleware

__all__ = ["CrewgateMiddleware"]
