"""The bounds of one JSON-RPC message (MCP, A2A), as the native reader has them."""

json_rpc_bytes_max = 64 * 2**20  # as the body of any request; an endpoint has a lower bound
json_rpc_depth_max = 64  # objects and arrays in each other; JSON Schemas of tools have up to 20
json_rpc_values_max = 2**18  # in all objects and arrays; their names take 8 MiB while it is read
json_rpc_id_bytes_max = 128  # of its JSON text; a UUID has 38, and each error repeats it
json_rpc_method_bytes_max = 128  # of its JSON text; the longest one of MCP has 38
