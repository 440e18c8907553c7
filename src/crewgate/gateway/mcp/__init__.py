"""MCP endpoints: what a message uses, how it is forwarded, and what of its answer the client gets.

`endpoint` has what the configuration says of an endpoint. `judging` reads a message and finds the
tool that the gate judges, `opened_ids` opens its sealed ids, and `responses` chooses how the client
gets the answer. `gateway.call` takes the call through its five steps like any other.
"""
