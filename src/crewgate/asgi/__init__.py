"""ASGI middleware for the server of a tool: authorizes each call before the application runs.

The middleware asks a `Verifier`, which charges the price together with the verdict. If the branch
of a call is revoked, the middleware cancels the call in the application.
"""

from crewgate.asgi.middleware import CrewgateMiddleware

__all__ = ["CrewgateMiddleware"]
