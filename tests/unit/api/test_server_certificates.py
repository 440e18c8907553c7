"""`renews` of `POST /v1/certificates`: what clients of a machine are shown, made anew."""

from typing import Any

import pytest
from api_world import BD, GATEWAY, OPERATOR, Desk

from crewgate.core.x509.identity_extension import Identity

ASK = {"request": "csr", "renews": "pem"}


@pytest.mark.parametrize(("who", "status"), [(GATEWAY, 201), (OPERATOR, 201), (BD, 403)])
async def test_a_machine_or_an_operator_may(who: Identity, status: int) -> None:
    """An orchestrator is no server."""
    desk = Desk()
    answer = await desk.ask(who, "POST", "/v1/certificates", json=ASK)
    assert answer.status_code == status
    asked = [each for each in desk.office.asked if each[0] == "certify_server"]
    assert asked == ([("certify_server", "csr", "pem", "0B")] if status == 201 else [])


@pytest.mark.parametrize(
    "more", [{"role": "gateway"}, {"name": "x"}, {"hosts": ["x"]}, {"life_seconds": 60}]
)
async def test_nothing_else_may_be_wished_for(more: dict[str, Any]) -> None:
    """It would not be heard."""
    answer = await Desk().ask(OPERATOR, "POST", "/v1/certificates", json=ASK | more)
    assert (answer.status_code, "renews" in answer.text) == (400, True)
