"""The Model Context Protocol (MCP), as far as a gateway must understand it.

A message is one JSON-RPC request, notification or response in the body of a POST. `methods` says
what each method does, `message_rules` checks a message and its headers, `tool_ids` names what it
uses for a token's `allowed_tools`, and `refusals` writes refusals that an agent understands.
`resource_classes` sorts resources by their URIs, and the package `arguments` checks the arguments
of tools. On the way back, `response_rewriting` reads each message of the server. `message_filter`
takes out of a message what the caller may not use, and `result_filter` does so in one result, in
which `list_entries` reads the lists. The package `pins` compares the tools that the server lists
with those that this machine trusts.
`group_names` and `group_results` let several servers look like one.

There are two revisions on one endpoint. A *modern* message (2026-07-28) names its revision in its
`_meta`. All others are *legacy* (2025-11-25 and before): they begin with `initialize`, and the
server may keep a session.

Invariants:

- The gateway judges the body. Headers that repeat it must agree, and are written anew.
- A method that is not in the table of methods is refused, unless the endpoint allows it.
- A client gets only messages of a server that were read. A message that cannot be read is an error.
- A list shows no byte of an entry that the caller may not use. The call is judged again.
- No refusal depends on whether a tool exists if the branch may not use it.
- A tool of which the server has shown two definitions is changed until a person approves it.
"""
