"""/openapi.json held against the application by schemathesis, with an office that never refuses.

Statuses, media types and bodies are as documented for whatever the document allows and for what it
does not; what it does not allow is refused.
"""

from typing import Any

import pytest
from api_world import BD, GATEWAY, OPERATOR, FakeOffice
from hypothesis import HealthCheck, settings

from crewgate.api.app import make_app
from crewgate.server.request import ClientInfo

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (dev)")
schemathesis.serializer.alias("application/ocsp-request", "application/octet-stream")
# Rules that no schema can say (exactly one of three members, a field that a grant needs) refuse
# what a schema allows.
LENIENT = [schemathesis.checks.positive_data_acceptance]
FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
office = FakeOffice()
app = make_app(office)


async def with_peer(scope: Any, receive: Any, send: Any) -> None:
    """As the edge hands a request over; who asks is in a field of the test's own."""
    if scope["type"] == "http":
        named = dict(scope["headers"]).get(b"x-who", b"ada").decode()
        callers = {"ada": OPERATOR, "bd": BD, "edge": GATEWAY}
        scope["state"] = {"peer": ClientInfo("192.0.2.1", 1, identity=callers[named], serial=0x0B)}
    await app(scope, receive, send)


schema = schemathesis.openapi.from_asgi("/openapi.json", with_peer)


@schema.parametrize()
@FEW
def test_an_operator_finds_what_is_documented(case: Any) -> None:
    """Every check that schemathesis has, for who may do everything."""
    case.call_and_validate(headers={"x-who": "ada"}, excluded_checks=LENIENT)


@schema.parametrize()
@FEW
@pytest.mark.parametrize("who", ["bd", "edge"])
def test_so_does_everybody_else(case: Any, who: str) -> None:
    """Refusals of a role are documented ones."""
    case.call_and_validate(headers={"x-who": who}, excluded_checks=LENIENT)
