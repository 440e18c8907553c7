"""The bounds of MCP endpoints (core/mcp, gateway/mcp)."""

mcp_uri_chars_max = 2048  # of a resource; the longest that servers and proxies commonly take
