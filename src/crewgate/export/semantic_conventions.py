"""The names that OpenTelemetry gives to members of an audit record, all in one table.

HTTP: semantic conventions 1.44, stable. GenAI, MCP and A2A: semantic-conventions-genai 0.1, in
development, so its names may change; then change them here. All other members keep their name after
`crewgate.`.
"""

from typing import Any, Final

Attribute = tuple[str, Any]  # a text, an int, a bool or a list of texts

ATTRIBUTE_NAMES: Final = {
    "status": "http.response.status_code",
    "bytes_in": "http.request.body.size",
    "bytes_out": "http.response.body.size",
    "tool": "gen_ai.tool.name",
    "branch": "gen_ai.agent.id",
    "role": "gen_ai.agent.name",
    "model": "gen_ai.request.model",
    "tokens_in": "gen_ai.usage.input_tokens",
    "tokens_out": "gen_ai.usage.output_tokens",
}
RECORD_UID: Final = "log.record.uid"  # a receiver may drop a record whose uid it has seen
ERROR_TYPE: Final = "error.type"
OPERATION_NAME: Final = "gen_ai.operation.name"
OPERATION: Final = "execute_tool"


def attribute_name(member: str, value: object) -> str:
    """Return the name of the attribute for a member of a record with this value."""
    if member == "method":
        return _method_name(str(value))
    return ATTRIBUTE_NAMES.get(member) or f"crewgate.{member}"


def _method_name(method: str) -> str:
    """Return what a method is one of: HTTP ("POST"), A2A ("SendMessage") or MCP ("tools/call")."""
    if method.isupper():
        return "http.request.method"
    return "a2a.method.name" if method[:1].isupper() else "mcp.method.name"


def resource(version: str, machine: str) -> list[Attribute]:
    """Return the attributes of the process that the records are about."""
    return [
        ("service.name", "crewgate"),
        ("service.version", version),
        ("service.instance.id", machine),
    ]


def span_name(record: dict[str, Any]) -> str:
    """Return the name of the span of a call, as GenAI names the execution of a tool.

    For MCP and A2A, the method stands in the place of the operation.
    """
    tool, method = record.get("tool"), record.get("method", "")
    operation = OPERATION if method.isupper() or not method else method
    return f"{operation} {tool}" if tool else operation
