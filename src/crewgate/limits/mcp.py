"""The bounds of MCP endpoints (core/mcp, gateway/mcp)."""

mcp_endpoints_max = 64  # `[mcp.NAME]`; each has its own tools, list and pins
mcp_named_max = 256  # tables for single tools, prompts or resources of one endpoint
mcp_patterns_max = 64  # of URIs of one class of resources
mcp_uri_chars_max = 2048  # of a resource; the longest that servers and proxies commonly take
mcp_list_bytes_max = 8 * 2**20  # of one page of a list; a thousand tools of 8 KiB
mcp_list_entries_max = 10_000  # on one page; they take a worker some 0.2 s, in slices
mcp_slice_entries = 100  # of a list that are read in a row: 1 to 6 ms; then others have their turn
mcp_list_names_chars_max = 2**19  # of names or URIs on one page; hostile URIs take half a second
mcp_message_bytes_max = 16 * 2**20  # of a server; a picture of 12 MB in base64
mcp_methods_max = 32  # further methods that an endpoint lets pass
mcp_body_bytes_max = 4 * 2**20  # of a message, unless the endpoint says otherwise; as in the SDKs
mcp_tool_labels_max = 256  # parts of an endpoint without a table that have metrics of their own
mcp_list_ttl_ms_max = 60_000  # that a client may keep a list: how soon a narrowed scope shows
mcp_responses_share = 2  # the divisor: a crew gets at most half, so others always get some
mcp_responses_bytes_max = 64 * 2**20  # that the endpoints of one worker hold back
mcp_kept_judgements_max = 1024  # of one endpoint and worker; 2 KiB each, its agents use few tools
mcp_kept_value_bytes_max = 256  # of a header, or of the capabilities, whose judgement is kept
mcp_subscriptions_max = 256  # resources or tasks of one `subscriptions/listen`
mcp_shown_chars_max = 128  # of a client's text in an error
