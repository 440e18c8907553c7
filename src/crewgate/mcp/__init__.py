"""Connects the MCP SDK for Python to a gateway, with the token of one branch.

`client` makes a client of the SDK, and `transport` makes a transport for the SDK's other classes. A
framework that makes its own HTTP client takes the hook of `auth`, or the client of `http_client`.
A `SessionPool` keeps one session for each branch.
Each request presents the newest token. If the gateway refused the token before a tool has seen the
call, and if there is a newer token by then, the client sends the request once more.

If a request fails, the SDK ends the whole session with all its calls. So the HTTP client of this
package turns such an error into an error response for this one call.
"""

from crewgate.runtime.install_hint import install_hint

try:
    from crewgate.mcp.connection import auth, client, transport
    from crewgate.mcp.mcp_http_client import http_client
    from crewgate.mcp.sdk import MCPError
    from crewgate.mcp.session_pool import SessionPool
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(install_hint("crewgate.mcp", "mcp"), name=error.name) from error

__all__ = ["MCPError", "SessionPool", "auth", "client", "http_client", "transport"]
