"""The registry of problem types: complete, without contradictions, and in words for people."""

import re

import pytest
from msgspec import structs

from crewgate.core.grpc_status import Code
from crewgate.core.problem_reference import markdown
from crewgate.core.problem_types import (
    BUSY,
    BY_STATUS,
    PROBLEMS,
    ProblemType,
    Reason,
    Sender,
    _add,
)

# RFC 6750, section 3: what an error_description may hold.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
every = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.slug)


@every
def test_a_problem_can_be_sent_by_all_its_senders(problem: ProblemType) -> None:
    """Its texts are sentences for people, and fit into a challenge; its codes are known."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem.slug)
    assert problem.uri == f"https://crewgate.dev/problems/{problem.slug}"
    assert problem.senders
    assert problem.title[0].isupper()
    assert problem.title[-1].isalnum()
    assert problem.detail.endswith(".")
    assert DESCRIPTION.fullmatch(problem.detail)
    if problem.senders & (Sender.GATEWAY | Sender.SERVER):
        assert problem.grpc_code is not Code.UNKNOWN
    if problem.status == 503:
        assert problem.retry_seconds


def test_each_reason_has_a_problem_of_calls() -> None:
    """A verdict that could not be answered would end a call with 500."""
    for reason in Reason:
        assert Sender.GATEWAY in PROBLEMS[reason.value].senders


def test_the_server_has_one_problem_for_a_status() -> None:
    """It refuses by status alone."""
    of_server = [each for each in PROBLEMS.values() if Sender.SERVER in each.senders]
    assert list(BY_STATUS.values()) == of_server


def test_a_slug_is_taken_once() -> None:
    """Two types with one URI could not be told apart."""
    with pytest.raises(ValueError, match="two problem types with the slug busy"):
        _add(structs.replace(BUSY, title="Another"))
    assert PROBLEMS["busy"] is BUSY


def test_an_error_of_the_control_api_says_what_it_knows() -> None:
    """Its own detail where it has one, else that of the type."""
    error = BUSY.error("try the other one")
    assert (error.status, error.slug, str(error)) == (503, "busy", "try the other one")
    assert str(BUSY.error()) == BUSY.detail


def test_the_reference_has_a_row_for_each_problem_and_sender() -> None:
    """And as many cells as its table has columns."""
    tables = [part for part in markdown().split("\n\n") if part.startswith("| HTTP")]
    assert len(tables) == 3
    for sender, table in zip((Sender.GATEWAY, Sender.SERVER, Sender.CONTROL), tables, strict=True):
        head, rule, *rows = (line.split(" | ") for line in table.splitlines())
        assert {len(cells) for cells in (rule, *rows)} == {len(head)}
        found = sorted(cells[1].strip("`") for cells in rows)
        wanted = [each.slug for each in PROBLEMS.values() if sender in each.senders]
        assert found == sorted(wanted)
    assert PROBLEMS["busy"].detail in markdown()
    assert "| 401 | `branch-revoked` | Branch revoked. " in markdown()
