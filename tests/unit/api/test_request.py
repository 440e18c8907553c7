"""One request, read: whatever was sent, a value or a refusal, never another error."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.api.request import APIRequest, query_of
from crewgate.api.schemas import RevocationRequest
from crewgate.errors import ControlError

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def call(body: bytes = b"", kind: str = FORM, **query: str) -> APIRequest:
    return APIRequest({}, query, body, kind)


def outcome(work: Callable[[], Any]) -> Any:
    """What it returns; None if it is refused with 400. Anything else is a failure."""
    try:
        return work()
    except ControlError as error:
        if error.status != 400:
            raise
        return None


@given(st.binary(max_size=400))
def test_a_form_is_fields_or_a_refusal(body: bytes) -> None:
    """Bytes of any sort."""
    fields = outcome(call(body).form) or {}
    assert all(isinstance(each, str) for pair in fields.items() for each in pair)


@given(st.binary(max_size=400))
def test_json_is_a_struct_or_a_refusal(body: bytes) -> None:
    """Bytes of any sort."""
    found = outcome(lambda: call(body, JSON).decode(RevocationRequest))
    assert found is None or isinstance(found, RevocationRequest)


@given(st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=200))
def test_a_query_is_parameters_or_a_refusal(text: str) -> None:
    """Each once."""
    outcome(lambda: query_of(text.encode()))


@given(st.text(max_size=30))
def test_a_number_is_in_its_bounds_or_refused(text: str) -> None:
    """Whatever digits there are in Unicode."""
    found = outcome(lambda: call(limit=text).int_param("limit", 7, 1000))
    assert found is None or (1 <= found <= 1000 and found == (int(text) if text else 7))


@pytest.mark.parametrize("kind", ["Application/JSON; charset=utf-8", "application/json;"])
def test_a_type_is_compared_without_case_and_parameters(kind: str) -> None:
    """RFC 9110, section 8.3.1."""
    assert call(b"{}", kind).decode(RevocationRequest) == RevocationRequest()


def test_there_are_at_most_so_many_fields() -> None:
    """A form of a thousand fields is not taken apart."""
    body = b"&".join(b"a%d=b" % number for number in range(limits.form_fields_max + 1))
    with pytest.raises(ControlError):
        call(body).form()
    with pytest.raises(ControlError):
        query_of(body)


def test_a_call_does_not_show_its_body() -> None:
    """It may hold a token."""
    assert "secret" not in repr(call(b"token=secret"))
