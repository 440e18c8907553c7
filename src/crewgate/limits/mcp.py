"""The bounds of MCP endpoints (core/mcp, gateway/mcp)."""

mcp_uri_chars_max = 2048  # of a resource; the longest that servers and proxies commonly take
mcp_list_bytes_max = 8 * 2**20  # of one page of a list; a thousand tools of 8 KiB
mcp_list_entries_max = 10_000  # on one page; more than that takes some 50 ms to filter
mcp_message_bytes_max = 16 * 2**20  # of a server; a picture of 12 MB in base64
