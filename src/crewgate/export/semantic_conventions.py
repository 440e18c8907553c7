"""The names that OpenTelemetry gives to members of an audit record, all in one table.

HTTP: semantic conventions 1.44, stable. GenAI: semantic-conventions-genai 0.1, in development, so
its names may change; then change them here. All other members keep their name after `crewgate.`.
"""

from typing import Any, Final

Attribute = tuple[str, Any]  # a text, an int, a bool or a list of texts

ATTRIBUTE_NAMES: Final = {
    "method": "http.request.method",
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


def attribute_name(member: str) -> str:
    """Return the name of the attribute for a member of a record."""
    return ATTRIBUTE_NAMES.get(member) or f"crewgate.{member}"


def resource(version: str, machine: str) -> list[Attribute]:
    """Return the attributes of the process that the records are about."""
    return [
        ("service.name", "crewgate"),
        ("service.version", version),
        ("service.instance.id", machine),
    ]


def span_name(record: dict[str, Any]) -> str:
    """Return the name of the span of a call, as GenAI names the execution of a tool."""
    tool = record.get("tool")
    return f"{OPERATION} {tool}" if tool else OPERATION
