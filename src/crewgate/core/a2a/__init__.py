"""The Agent2Agent protocol (A2A), versions 1.0 and 0.3, as far as a gateway must understand it.

A request comes by one of three *bindings*: JSON-RPC, HTTP+JSON and gRPC. `methods` names the
methods, and `http_json_paths` finds the method of a path. `message_fields` says which members of a
message hold an id, an address or a tenant. `json_messages`, `protobuf_messages` and
`query_parameters` rewrite these members, and `client_ids` says into what. `agent_card` rewrites the
card of an agent, and `refusals` writes errors in the form of the binding. `cancellation` and
`task_search` write requests of the gateway's own.

Invariants:

- A client never gets an id of the agent, only sealed ids of its own branch (`core/sealed_ids.py`).
- A task, context or page that does not open for the branch does not exist for it.
- What the gateway forwards is what it has judged: a request that has a judged member twice, or in
  two spellings, is refused.
"""
