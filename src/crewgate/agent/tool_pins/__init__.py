"""The pinned MCP tools of this machine: their files, and what workers and operators learn of them.

The rules are in core/mcp/pins/endpoint_pins.py. This package passes them what the workers see,
writes the result to disk, and pushes it to all workers. Each machine has pins of its own.
"""
