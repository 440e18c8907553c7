"""Rules on the arguments of an MCP tool.

`argument_rules` checks all arguments of a call. For that, `argument_comparison` compares one
argument, `folder_containment` finds out whether a path stays in a folder, and `url_host` which host
a URL is for. JSON Schemas are in core/json_schema.
"""
