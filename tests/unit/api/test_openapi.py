"""The document that /openapi.json is, against the table of endpoints and the words."""

from api_world import BD, Desk

from crewgate.api.endpoints import ENDPOINTS
from crewgate.api.openapi import document
from crewgate.api.tokens import FORM


async def test_it_is_served_as_it_is_made() -> None:
    """To everybody with a certificate, as JSON."""
    answer = await Desk().ask(BD, "GET", "/openapi.json")
    assert answer.json() == document()
    assert answer.headers["content-type"] == "application/json"


def test_every_endpoint_is_there_and_nothing_else() -> None:
    """One operation for each row of the table, and one for the document itself."""
    found = {
        (method.upper(), path)
        for path, operations in document()["paths"].items()
        for method in operations
    }
    rows = {(each.method, each.path.replace(":path", "")) for each in ENDPOINTS}
    assert found == rows | {("GET", "/openapi.json")}


def test_names_are_told_apart_and_every_reference_leads_somewhere() -> None:
    """Operation ids once each; `$ref` to components that are there."""
    whole = document()
    operations = [each for path in whole["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    text = str(whole)
    for name in whole["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    assert all("{" not in name for name in names)


def test_the_form_of_the_token_endpoint_is_the_one_that_is_read() -> None:
    """Fields, and which of them must be there."""
    body = document()["paths"]["/v1/tokens"]["post"]["requestBody"]["content"]
    (schema,) = [each["schema"] for each in body.values()]
    assert set(schema["properties"]) == set(FORM)
    assert schema["required"] == ["grant_type"]
