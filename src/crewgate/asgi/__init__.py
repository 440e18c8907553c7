"""ASGI middleware for the server of a tool: authorizes each call before the application runs.

It asks a `Verifier`, which charges the price with its verdict, and cancels the application when the
branch of the call is revoked.
"""

from crewgate.asgi.middleware import CrewgateMiddleware

__all__ = ["CrewgateMiddleware"]
