"""What a person may write for a branch, and which branches that may mean."""

from typing import NamedTuple

import pytest

from crewgate.core.branch_reference import check, is_name, is_whole_id, matching

ID = "7c0a3a52-1111-4111-8111-111111111111"
ALIKE = "7c0a3a52-2222-4222-8222-222222222222"


class Row(NamedTuple):
    branch: str
    crew: str = "article"
    role: str = "researcher"
    state: str = "live"


ROWS = [
    Row("", state="live"),  # a crew
    Row(ID),
    Row(ALIKE, role="writer"),
    Row("dead0000-0000-4000-8000-000000000001", state="revoked"),
    Row("beef0000-0000-4000-8000-000000000002", crew="bd"),
    Row("cafe0000-0000-4000-8000-000000000003", crew="article:finance", role="orchestrator"),
]


def found(text: str, crew: str = "") -> list[str]:
    return [row.branch for row in matching(text, crew, ROWS)]


@pytest.mark.parametrize("text", [ID, "7c0a", "7c0a3a52-11", "article/researcher", "a/r/x"])
def test_a_reference_is_an_id_its_beginning_or_a_name(text: str) -> None:
    """Nothing else is asked for."""
    check(text)


@pytest.mark.parametrize(
    "text",
    ["", "7c0", "7C0A3A52", ID.upper(), f"{ID}0", "zzzz", "article", "/researcher", "article/",
     "eyJhbGciOi.secret.x", "article/re searcher", "7c0a 3a52", "٣٣٣٣"],
)  # fmt: skip
def test_another_text_is_refused_and_not_repeated(text: str) -> None:
    """It may be a token."""
    with pytest.raises(ValueError, match="its first characters, at least 4") as refused:
        check(text)
    assert not text or text not in str(refused.value).replace("CREW/ROLE", "")


def test_the_beginning_of_an_id_means_every_branch_that_begins_so() -> None:
    """Also one that has ended: a person who is about to revoke must not be guessed at."""
    assert found("7c0a3a52") == [ID, ALIKE]
    assert found("7c0a3a52-1") == found(ID) == [ID]
    assert found("dead") == ["dead0000-0000-4000-8000-000000000001"]
    assert found("0000") == []
    assert found("beef", crew="article") == []


def test_a_name_means_the_branches_that_have_not_ended() -> None:
    """Of the crew, or of its account at another crew."""
    assert found("article/researcher") == [ID]
    assert found("article/researcher", crew="bd") == []
    assert found("article/orchestrator") == found("article:finance/orchestrator") != []
    assert found("article/nobody") == []


def test_an_id_and_a_name_are_told_apart() -> None:
    """An id has no slash, and a name is no id."""
    assert is_whole_id(ID)
    assert not is_name(ID)
    assert is_name("article/researcher")
    assert not is_whole_id("article/researcher")
