"""Tests what a person may do on the live page."""

import pytest

from crewgate.errors import ControlError
from crewgate.ui.person import ALL_CREWS, Person, Right, all_rights, rights_of


def _person(*grants: tuple[list[Right], list[str] | None]) -> Person:
    return Person("person/ada", "login", rights_of(grants))


def test_a_right_holds_for_its_crews_alone() -> None:
    ada = _person(([Right.OPERATE], ["article"]))
    assert ada.may(Right.OPERATE, "article")
    assert not ada.may(Right.OPERATE, "billing")
    assert not ada.may(Right.BUDGET, "article")


def test_a_person_who_may_act_may_look() -> None:
    ada = _person(([Right.BUDGET], ["article"]))
    assert ada.may(Right.VIEW, "article")
    assert not ada.may(Right.VIEW, "billing")


def test_what_is_of_no_crew_needs_the_right_for_all() -> None:
    assert not _person(([Right.OPERATE], ["article"])).may(Right.OPERATE, "")
    assert _person(([Right.OPERATE], None)).may(Right.OPERATE, "")
    assert _person(([Right.OPERATE], None)).rights[Right.VIEW] == {ALL_CREWS}


def test_calls_between_crews_belong_to_the_crew_that_calls() -> None:
    ada = _person(([Right.OPERATE], ["article"]))
    assert ada.may(Right.OPERATE, "article:billing")
    assert not ada.may(Right.OPERATE, "billing:article")


def test_grants_of_rights_add_up() -> None:
    ada = _person(([Right.OPERATE], ["article"]), ([Right.VIEW], None))
    assert ada.may(Right.VIEW, "billing")
    assert not ada.may(Right.OPERATE, "billing")


def test_nobody_has_a_right_without_a_grant() -> None:
    nobody = _person()
    assert not any(nobody.may_somewhere(right) for right in Right)
    with pytest.raises(ControlError, match="you lack the right view for crew article"):
        nobody.demand(Right.VIEW, "article")


def test_all_rights_are_for_all_crews() -> None:
    root = Person("local/root", "local", all_rights())
    assert all(root.may(right, crew) for right in Right for crew in ("article", ""))
