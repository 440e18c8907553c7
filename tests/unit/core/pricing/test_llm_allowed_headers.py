"""Header fields that may change what a request to a language model costs."""

import pytest

from crewgate.core.pricing.llm_allowed_headers import check
from crewgate.errors import InvalidRequestError

BETA = b"anthropic-beta"


def price(field: bytes, value: bytes, allow: tuple[str, ...] = ()) -> str:
    """Why a request has no price; "" if it has one."""
    try:
        check([(b"host", b"a"), (field, value)], allow)
    except InvalidRequestError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "value",
    [
        b"interleaved-thinking-2025-05-14",
        b"claude-code-20250219, fine-grained-tool-streaming-2025-05-14 ,prompt-caching-2024-07-31",
        b"",
        b"files-api-2025-04-14,",
    ],
)
def test_what_costs_nothing_by_itself_is_free(value: bytes) -> None:
    """Members and tools that it brings are looked at as members and tools."""
    assert not price(BETA, value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"context-1m-2025-08-07", "context-1m-2025-08-07"),
        (b"effort-2025-11-24,context-1m-2025-08-07", "context-1m-2025-08-07"),
        (b"tomorrow-2030-01-01", "tomorrow-2030-01-01"),
        (b"effort", "effort"),
        (b"effort-2025-11-24;q=1", "effort-2025-11-24;q=1"),
    ],
)
def test_a_beta_that_may_cost_more_is_allowed_by_name_only(value: bytes, name: str) -> None:
    """What no list knows may cost something."""
    assert price(BETA, value).startswith(f'"{name}" in anthropic-beta may change what')
    assert not price(BETA, value, (name,))


@pytest.mark.parametrize(
    ("field", "usual"),
    [
        (b"x-vertex-ai-llm-shared-request-type", b"standard"),
        (b"x-amzn-bedrock-service-tier", b"Default"),
        (b"x-amzn-bedrock-performanceconfig-latency", b"standard"),
    ],
)
def test_a_lane_in_a_field_is_allowed_by_the_fields_name_only(field: bytes, usual: bytes) -> None:
    """As one in a member is."""
    assert not price(field, usual)
    said = price(field, b"priority")
    assert said.startswith(f"the field {field.decode()} may change what the call costs")
    assert not price(field, b"priority", (field.decode(),))
