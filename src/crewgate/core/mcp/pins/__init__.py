"""Pins of MCP tools: the definition of each tool that a machine trusts, and how it may change.

`tool_definitions` reads a definition and computes its digest. `endpoint_pins` has the rules by
which the agent keeps the pins of one endpoint. `worker_pins` has the pins as one worker knows them,
and says which calls to refuse. `pin_observer` compares a response of the server with them, and
`definition_outbox` keeps the definitions that the agent does not have yet. `definition_diff` shows
a person what has changed.
"""
