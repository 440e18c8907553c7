"""The bounds of MCP groups (core/mcp/group_names.py, gateway/mcp_group)."""

mcp_groups_max = 32  # `[mcp_group.NAME]`
mcp_group_servers_max = 16  # of one group; a list asks all of them at once
mcp_group_server_chars_max = 32  # of a name before `__`, so that the rest of a name has 30
mcp_group_name_chars_max = 64  # of a name with a prefix; some APIs of language models take no more
mcp_group_digest_chars = 8  # hexadecimal digits at the end of a shortened name
mcp_group_seconds = 5.0  # until a server is left out of the answer of its group
mcp_group_pages_max = 64  # of one list of one server
mcp_group_bytes_max = 8 * 2**20  # of the answers of one server to one request, all pages together
mcp_group_request_bytes_max = 16 * 2**20  # the same of all servers
mcp_group_room_bytes_max = 64 * 2**20  # of all answers that one worker merges at a time
mcp_group_asks_max = 256  # requests of clients for which one worker asks several servers at a time
mcp_group_share = 2  # the divisor: a crew gets at most half of these two, so others get some
mcp_group_entries_max = 10_000  # of each server, and in one merged list
mcp_group_names_seconds = 60.0  # that a worker knows what a branch has been shown
mcp_group_renew_seconds = 1.0  # before a worker asks again because it does not know a name
mcp_group_names_chars_max = 2**24  # of names of all branches that a worker knows of one group
mcp_group_list_chars = 100  # what a list without names counts there
mcp_group_report_seconds = 60.0  # between two log lines about the same server of a group
mcp_group_session_bytes_max = 4096  # of the ids of all sessions; sealed, they fit a header field
