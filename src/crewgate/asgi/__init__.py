"""Middleware for an ASGI application that is a tool's own server: each call needs a verdict.

It asks a `Verifier`, settles the permit when the response ends, and cancels the application when
the branch of the call is revoked.
"""

from crewgate.asgi.middleware import CrewgateMiddleware

__all__ = ["CrewgateMiddleware"]
