"""Loads the rules on the arguments of MCP tools: a configuration and the schemas that it names."""

from collections.abc import Mapping
from pathlib import Path

from crewgate import limits
from crewgate.config import Config, MCPToolConfig
from crewgate.core.json_schema.json_values import decode_document
from crewgate.core.json_schema.schema_compiler import JSONSchema, compile_schema
from crewgate.core.mcp.arguments.argument_rules import ArgumentRules
from crewgate.core.mcp.tool_ids import tool_id
from crewgate.errors import ConfigurationError


def schema_files(config: Config) -> tuple[Path, ...]:
    """Return the files with schemas that a configuration names."""
    tools = (tool for endpoint in config.mcp for tool in endpoint.tools)
    return tuple(tool.schema_file for tool in tools if tool.schema_file is not None)


def load_argument_rules(config: Config) -> Mapping[str, ArgumentRules]:
    """Return the rules of each tool that has any, by its id such as "files.delete".

    Raises:
        ConfigurationError: A schema file cannot be read, or is no schema that the gateway checks in
            full.
    """
    found = {
        tool_id(endpoint.name, tool.name): ArgumentRules(tool.comparisons, _schema(tool))
        for endpoint in config.mcp
        for tool in endpoint.tools
    }
    return {name: rules for name, rules in found.items() if rules}


def _schema(tool: MCPToolConfig) -> JSONSchema | None:
    path = tool.schema_file
    if path is None:
        return tool.schema
    try:
        with path.open("rb") as stream:
            text = stream.read(limits.argument_schema_bytes_max + 1)
        if len(text) > limits.argument_schema_bytes_max:
            raise ConfigurationError(
                f"{path}: larger than {limits.argument_schema_bytes_max} bytes; is it a schema?"
            )
        return compile_schema(decode_document(text))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the schema of the tool {tool.name} cannot be read ({error.strerror})"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"{path}: no JSON Schema that the gateway can check: {error}"
        ) from None
