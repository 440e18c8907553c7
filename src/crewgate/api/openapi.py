"""Makes the OpenAPI 3.1 document from the table of endpoints, so that the two never differ."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from crewgate import limits
from crewgate.api import tokens
from crewgate.api.endpoints import ENDPOINTS, Endpoint
from crewgate.api.problems import OAUTH_PATHS, PROBLEM
from crewgate.api.schemas import OAuthProblem, Problem

PATH = "/openapi.json"
_JSON = "application/json"
_REF = "#/components/schemas/{name}"
_FORM = "application/x-www-form-urlencoded"
_TEXT: dict[str, Any] = {"type": "string"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "branch": {"type": "string", "format": "uuid"},
    "limit": {"type": "integer", "minimum": 1, "maximum": limits.page_rows_max},
    "crew": {"type": "string", "maxLength": limits.name_chars_max},
    "request": {"type": "string", "description": "DER in base64"},
    "grant_type": {"type": "string", "enum": [tokens.RUN, tokens.CHILD, tokens.NEXT]},
    "subject_token_type": {"type": "string", "enum": [tokens.TOKEN_TYPE, tokens.ACCESS_TYPE]},
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    kinds: list[type] = [Problem, OAuthProblem]
    for endpoint in ENDPOINTS:
        kinds += [each for each in (endpoint.body, endpoint.response) if each not in {None, bytes}]
    names = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(names, ref_template=_REF)
    found = dict(zip(names, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        operations = paths.setdefault(endpoint.path.replace(":path", ""), {})
        operations[endpoint.method.lower()] = _operation(endpoint, found)
    paths[PATH] = {"get": _own_operation(found)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Crewgate control API",
            "version": "1",
            "description": (
                "Requires mutual TLS. The identity in the certificate decides who may do what."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
        "security": [{"certificate": []}],
    }


def _own_operation(schemas: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "operationId": "get_openapi",
        "summary": "Get this document.",
        "responses": {
            "200": {"description": "Success.", "content": {_JSON: {"schema": {"type": "object"}}}},
            **_error_responses("", schemas),
        },
    }


def _operation(endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    roles = ", ".join(sorted(role.value for role in endpoint.roles))
    name = f"{endpoint.method.lower()}{re.sub('[^a-z0-9]+', '_', endpoint.path)}".rstrip("_")
    schema = schemas.get(endpoint.response)
    done = {"description": "Success.", "content": {endpoint.media: {"schema": schema or {}}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": endpoint.summary,
        "description": f"Roles: {roles}.",
        "responses": {str(endpoint.status): done, **_error_responses(endpoint.path, schemas)},
    }
    if endpoint.unready:
        waiting = {**done, "description": "Not ready; the response says why."}
        operation["responses"][str(endpoint.unready)] = waiting
    parameters = [_parameter(each, "path", required=True) for each in _names(endpoint.path)]
    parameters += [_parameter(each, "query", text=text) for each, text in endpoint.query.items()]
    if parameters:
        operation["parameters"] = parameters
    body = _body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _names(path: str) -> list[str]:
    return re.findall(r"\{([a-z]+)(?::path)?\}", path)


def _parameter(name: str, place: str, *, required: bool = False, text: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": place, "required": required}
    if text:
        found["description"] = text
    return {**found, "schema": _SCHEMAS.get(name, _TEXT)}


def _body(endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any] | None:
    if endpoint.body is not None:
        return {_JSON: {"schema": schemas[endpoint.body]}}
    if endpoint.form:
        fields = {
            name: {**_SCHEMAS.get(name, _TEXT), "description": text}
            for name, text in endpoint.form.items()
        }
        schema = {
            "type": "object",
            "properties": fields,
            "required": list(endpoint.required),
            "additionalProperties": False,
        }
        return {_FORM: {"schema": schema}}
    if endpoint.method == "POST":
        return {"application/ocsp-request": {"schema": {"type": "string", "format": "binary"}}}
    return None


def _error_responses(path: str, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the error responses.

    The server's own errors (a body over the limit, malformed HTTP) have no body.
    """
    problem: dict[str, Any] = {PROBLEM: {"schema": schemas[Problem]}}
    refused = {_JSON: {"schema": schemas[OAuthProblem]}} if path in OAUTH_PATHS else problem
    return {
        "4XX": {"description": "Refused; the response says why.", "content": refused},
        "5XX": {"description": "Unavailable now; the response says why.", "content": problem},
    }
