"""The control API, as its OpenAPI document describes it."""

from collections.abc import Iterator, Mapping
from typing import Any

from _generate.markdown import code, table, text
from crewgate.api.openapi import document

Schema = Mapping[str, Any]
_COMPONENTS = "#/components/schemas/"
_PROBLEM = "`application/problem+json`, [Problem](#problem)"
# What a JSON schema says of a value beside its type, and how a person says it.
_BOUNDS = {
    "format": "format {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {}",
}


def markdown() -> str:
    """A section for each endpoint, and one for each JSON object of a request or an answer."""
    found = document()
    parts = ["## Endpoints\n"]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    parts.append("## JSON objects\n")
    for name, schema in sorted(found["components"]["schemas"].items()):
        parts += [f"### {name}\n", *_paragraphs(schema.get("description", "")), _members(schema)]
    return "\n".join(parts)


def _operation(title: str, operation: Schema) -> Iterator[str]:
    yield f"### {title}\n"
    yield f"{text(operation['summary'])} {text(operation.get('description', ''))}\n"
    parameters = [
        (code(each["name"]), each["in"], _type(each["schema"]), text(each.get("description", "")))
        for each in operation.get("parameters", ())
    ]
    if parameters:
        yield table(("parameter", "in", "type", "meaning"), parameters)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        yield f"Request: {_content(media, schema)}.\n"
        if "properties" in schema:
            yield _members(schema)
    for status, response in operation["responses"].items():
        contents = [_content(media, each["schema"]) for media, each in response["content"].items()]
        if contents != [_PROBLEM]:  # which the introduction of the page describes
            yield f"* {status}: {text(response['description'])} Body: {', '.join(contents)}."
    yield ""


def _content(media: str, schema: Schema) -> str:
    return f"{code(media)}, {_type(schema)}" if "$ref" in schema else code(media)


def _members(schema: Schema) -> str:
    needed = schema.get("required", ())
    rows = []
    for name, member in schema.get("properties", {}).items():
        default = "required" if name in needed else _default(member)
        rows.append((code(name), _type(member), default, text(member.get("description", ""))))
    if any(row[3] for row in rows):
        return table(("member", "type", "default", "meaning"), rows)
    return table(("member", "type", "default"), [row[:3] for row in rows])


def _default(member: Schema) -> str:
    value = member.get("default")
    return "" if value is None or value == "" else code(str(value).lower())


def _type(schema: Schema) -> str:
    """The type in words, with a link to the section of an object."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_COMPONENTS)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(str(each) or '""') for each in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        kind = f"list of {_type(schema['items'])}"
    bounds = [words.format(schema[name]) for name, words in _BOUNDS.items() if name in schema]
    return ", ".join((kind, *bounds))


def _paragraphs(plain: str) -> list[str]:
    return [f"{text(each)}\n" for each in plain.split("\n\n") if each]
