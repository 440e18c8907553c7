"""MCP groups: several endpoints that clients use as one server.

`GroupCalls` reads each message that comes to a group. What concerns one endpoint, it hands on as a
call of that endpoint (`member_choice` finds out which), and `gateway.call` takes it through its
steps. What concerns several, such as a list, it asks each of them (`member_request`), and
core/mcp/group_results.py merges the answers.
"""
