"""MCP groups: several endpoints that clients use as one server.

`GroupHandler` takes each request that comes to a group, and finds the endpoints that its caller
reaches. `GroupRouter` reads the message. If it concerns one endpoint, the router hands it on as a
call of that endpoint (`member_choice` finds out which), and `gateway.call` takes it through its
steps. If it concerns several, such as a list, `ServerFanOut` asks each of them (`member_request`),
and `AnswerMerger` merges the answers with core/mcp/group_results.py.
"""
