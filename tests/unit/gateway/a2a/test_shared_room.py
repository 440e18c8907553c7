"""The responses of one crew cannot fill the room that all crews share."""

from types import SimpleNamespace

import msgspec
import pytest
from gateway_world import SEALER, FakePermit, grant_of

from crewgate import limits
from crewgate.core.a2a import message_fields, methods
from crewgate.core.a2a.agent_card import CardView
from crewgate.core.a2a.client_ids import ResponseTexts
from crewgate.core.a2a.methods import Binding, Version
from crewgate.core.sealed_ids import CallIds, IdOwner
from crewgate.errors import UnusableResponseError
from crewgate.gateway.a2a.responses import A2AEndpointResponse

JSON, STREAM = ((b"content-type", kind) for kind in (b"application/json", b"text/event-stream"))
ANSWER = b'{"result":{}}'


def response_of(crew: str) -> A2AEndpointResponse:
    """The response to a call of a branch of a crew."""
    grant = msgspec.structs.replace(grant_of(), crew=crew)
    ids = CallIds(SEALER, IdOwner(crew, grant.branch_key, "research"))
    view = CardView("https://gateway/", "gateway", "research.*", (), ())
    fields = message_fields.of_response(methods.GET_TASK, Version.V1_0)
    work = SimpleNamespace(answered=lambda: None)
    return A2AEndpointResponse(
        Binding.JSONRPC,
        fields,
        ResponseTexts(ids, view),
        work,  # type: ignore[arg-type]
        FakePermit(grant, 0),  # type: ignore[arg-type]
        shows_budget=False,
    )


def test_a_crew_gets_its_share_of_the_room() -> None:
    """Its calls hold back half at most, of bodies and events; another crew still gets some."""
    body, stream, others = response_of("greedy"), response_of("greedy"), response_of("modest")
    for each, field in ((body, JSON), (stream, STREAM), (others, JSON)):
        each.begin(200, [field])
    assert body.feed(bytes(limits.a2a_responses_bytes_max // 2), ends=False) == b""
    with pytest.raises(UnusableResponseError, match="too many other responses"):
        stream.feed(b"data: {", ends=False)
    assert others.feed(ANSWER, ends=True) == ANSWER
    body.close()
    again = response_of("greedy")
    again.begin(200, [JSON])
    assert again.feed(ANSWER, ends=True) == ANSWER
