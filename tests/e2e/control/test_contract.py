"""/openapi.json held against the real control process over mutual TLS, by schemathesis."""

from typing import Any

import pytest
from control_site import ControlSite
from hypothesis import HealthCheck, given, settings

from crewgate.api.openapi import document

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (dev)")
schemathesis.serializer.alias("application/ocsp-request", "application/octet-stream")
# Most of what a schema allows is refused here: there is no such branch, no such certificate.
LENIENT = [schemathesis.checks.positive_data_acceptance]
FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def shown(site: ControlSite) -> dict[str, Any]:
    """An operator's certificate, and whom to trust."""
    prefix = site.folder / "ada"
    return {"cert": (f"{prefix}.pem", f"{prefix}.key"), "verify": str(site.root)}


def test_what_the_process_answers_is_documented(site: ControlSite) -> None:
    """No 5xx, no undocumented status, media type or body, whatever an operator sends."""
    schema = schemathesis.openapi.from_url(f"{site.control}/openapi.json", **shown(site))
    held = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @FEW
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(excluded_checks=LENIENT, **shown(site))

        holds()
        held.append(operation.label)
    paths = document()["paths"]
    known = {
        f"{method.upper()} {path}" for path, operations in paths.items() for method in operations
    }
    # Where the document itself stands is left out by schemathesis.
    assert set(held) == known - {"GET /openapi.json"}
