"""What the gate decides by: crews, tools, scope patterns, and routes of requests to tools.

`path_variants` and `rewriting` refuse a path that the tool's server could take for another tool's.
"""
