"""What a gate judges by: crews and tools, scope patterns, and the routes of requests to tools."""
