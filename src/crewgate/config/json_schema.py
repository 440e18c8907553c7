"""Makes the JSON Schema of a configuration file, which `crewgate config schema` prints.

Editors check a file with it, complete keys and show what they mean. Each file that `load` accepts
is valid by the schema. `load` refuses more: it also checks the rules between keys.
"""

import json
from typing import Any, Final

from crewgate.config.declaration import (
    Key,
    KeyDeclaration,
    KeyOrTable,
    Table,
    TableList,
    TableMap,
    TableSchema,
)
from crewgate.config.model import CONFIG

# Taplo, which also works in the editor extension Even Better TOML, knows no newer draft.
_DRAFT = "http://json-schema.org/draft-07/schema#"
_ID = "https://crewgate.dev/schemas/crewgate.toml.json"
# The file that `crewgate init` writes beside a configuration, whose first line names it.
SCHEMA_FILE: Final = "crewgate.schema.json"


def json_schema() -> dict[str, object]:
    """Return the JSON Schema, of draft 7."""
    return {
        "$schema": _DRAFT,
        "$id": _ID,
        "title": "crewgate.toml",
        "description": "The configuration of a Crewgate gateway.",
        **_object(CONFIG),
    }


def json_schema_text() -> str:
    """Return the text of a file with the JSON Schema."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _object(table: TableSchema[Any]) -> dict[str, object]:
    required = [
        part.key(field)
        for field, part in table
        if isinstance(part, Key) and not part.has_default and not part.instead
    ]
    return {
        "type": "object",
        "properties": {part.key(field): _schema(part) for field, part in table},
        "required": required,
        "additionalProperties": False,
    }


def _schema(part: KeyDeclaration) -> dict[str, object]:
    if isinstance(part, Key):
        value = part.kind.described_schema
        if isinstance(part, KeyOrTable):
            value = {"anyOf": [value, _object(part.of)]}
        return {"description": _description(part), **value, **_default(part)}
    if not isinstance(part, Table):
        raise TypeError(part)
    text: dict[str, object] = {"description": part.text}
    inside = _object(part.of)
    if isinstance(part, TableMap):
        more = {
            "type": "object",
            "additionalProperties": {**text, **inside},
            "propertyNames": part.names.schema,
            "maxProperties": part.max_count,
        }
        return {**text, **more}
    if isinstance(part, TableList):
        return {**text, "type": "array", "items": {**text, **inside}, "maxItems": part.max_count}
    return {**text, **inside}


def _description(key: Key) -> str:
    """Return the meaning of a key, its possible values, and its default if that is no value."""
    values = f"Value: {key.kind.expected}."
    default = f"Default: {key.absent}." if key.absent else ""
    return " ".join(filter(None, (key.text, values, default)))


def _default(key: Key) -> dict[str, object]:
    value = key.default
    if not key.has_default or key.absent or value is None or callable(value):
        return {}
    plain = key.kind.spell(value) if key.kind.spell else value
    return {"default": json.loads(json.dumps(plain, default=str))}
