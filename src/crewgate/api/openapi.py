"""The OpenAPI document (3.1), made from the table of endpoints, so that the two cannot differ."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from crewgate import limits
from crewgate.api.endpoints import ENDPOINTS, Endpoint
from crewgate.api.words import OAuthProblem, Problem

_REF = "#/components/schemas/{name}"
_FORM = "application/x-www-form-urlencoded"
_UUID = {"type": "string", "format": "uuid"}


def document() -> dict[str, Any]:
    """The whole document."""
    kinds: list[type] = [Problem, OAuthProblem]
    for endpoint in ENDPOINTS:
        kinds += [each for each in (endpoint.ask, endpoint.answer) if each not in {None, bytes}]
    names = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(names, ref_template=_REF)
    found = dict(zip(names, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, found)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Crewgate control API",
            "version": "1",
            "description": "Mutual TLS always; the certificate's identity says who may do what.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
        "security": [{"certificate": []}],
    }


def _operation(endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    roles = ", ".join(sorted(role.value for role in endpoint.roles))
    name = f"{endpoint.method.lower()}{re.sub('[^a-z]+', '_', endpoint.path)}".rstrip("_")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": endpoint.says,
        "description": f"For: {roles}.",
        "responses": _responses(endpoint, schemas),
    }
    parameters = [_parameter(each, "path", required=True) for each in _names(endpoint.path)]
    parameters += [_parameter(each, "query", says=says) for each, says in endpoint.query.items()]
    if parameters:
        operation["parameters"] = parameters
    body = _body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _names(path: str) -> list[str]:
    return re.findall(r"\{([a-z]+)\}", path)


def _parameter(name: str, place: str, *, required: bool = False, says: str = "") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in {"branch", "after"}:
        schema = _UUID
    elif name == "limit":
        schema = {"type": "integer", "minimum": 1, "maximum": limits.page_rows_max}
    return {"name": name, "in": place, "required": required, "schema": schema, "description": says}


def _body(endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any] | None:
    if endpoint.ask is not None:
        return {"application/json": {"schema": schemas[endpoint.ask]}}
    if endpoint.form:
        fields = {
            name: {"type": "string", "description": says} for name, says in endpoint.form.items()
        }
        schema = {"type": "object", "properties": fields, "additionalProperties": False}
        return {_FORM: {"schema": schema}}
    if endpoint.path == "/ocsp":
        return {"application/ocsp-request": {}}
    return None


def _responses(endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    media, schema = "application/json", schemas.get(endpoint.answer)
    if endpoint.answer is bytes:
        media = {"/ocsp": "application/ocsp-response"}.get(endpoint.path, "application/x-pem-file")
    content = {media: {"schema": schema} if schema else {}}
    problem = {"application/problem+json": {"schema": schemas[Problem]}}
    if endpoint.form:
        problem = {"application/json": {"schema": schemas[OAuthProblem]}, **problem}
    return {
        str(endpoint.status): {"description": "Done.", "content": content},
        "4XX": {"description": "Refused, and why.", "content": problem},
        "5XX": {"description": "Not now, and why.", "content": problem},
    }
