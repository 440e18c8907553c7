"""The table of kinds says what is so: every reader of it finds what it needs for every kind."""

from typing import get_args, get_type_hints

import pytest

from crewgate import limits
from crewgate.agent.branch_registry import BranchEntry
from crewgate.api.schemas import BranchResponse, RevocationRequest, RevocationResponse
from crewgate.core.audit.records import RevocationRecord
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import (
    BY_CLAIM_LABEL,
    BY_FIELD,
    KINDS,
    RevocationKindRules,
    RevocationTarget,
    WhenFull,
)
from crewgate.core.tokens.claims import Claims
from crewgate.ipc.admin_messages import TreeRow

WALL = 1_800_000_000


def test_each_kind_has_a_row() -> None:
    """Its number is what journals and gossip have of it."""
    assert set(KINDS) == set(EntityKind) == set(range(1, len(EntityKind) + 1))
    assert all(KINDS[each].kind is each for each in EntityKind)


def test_the_api_asks_for_each_field_and_answers_with_each_label() -> None:
    """A field that the request lacks could not be read, and a label would be no answer."""
    assert set(BY_FIELD) < set(RevocationRequest.__struct_fields__)
    labels = get_args(get_type_hints(RevocationResponse)["target"])
    assert set(labels) == {each.label for each in BY_FIELD.values()}


@pytest.mark.parametrize("rules", BY_CLAIM_LABEL.values(), ids=lambda rules: rules.kind.name)
def test_what_a_claim_names_has_a_field_in_registry_tree_and_audit(
    rules: RevocationKindRules,
) -> None:
    """Under the label of its kind: there it is looked for, and written down."""
    assert rules.claim in Claims.__struct_fields__
    for struct in (BranchEntry, TreeRow, BranchResponse, RevocationRecord):
        assert rules.label in struct.__struct_fields__


@pytest.mark.parametrize("rules", KINDS.values(), ids=lambda rules: rules.kind.name)
def test_the_rules_of_a_kind_fit_one_another(rules: RevocationKindRules) -> None:
    """A crew pays by its share for what is coarsened, and it is one of the configuration."""
    assert (rules.when_full is WhenFull.COARSEN) is (rules.share == "branch")
    assert rules.of_configured_crew or rules.when_full is not WhenFull.COARSEN
    assert not rules.of_configured_crew or rules.request_field


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EntityKind.BRANCH, "eyJ secret"),
        (EntityKind.GRANT, "eyJ secret"),
        (EntityKind.PROCESS, "secret" * limits.claim_chars_max),
        (EntityKind.CERTIFICATE, "secret"),
        (EntityKind.CREW, ""),
    ],
)
def test_what_is_no_name_is_not_repeated(kind: EntityKind, name: str) -> None:
    """It may be a piece of a token."""
    with pytest.raises(ValueError, match=r"^expected ") as raised:
        _ = RevocationTarget(kind, name).key
    assert "secret" not in str(raised.value)


def test_how_long_and_for_which_tokens() -> None:
    """A branch ends for good, a process for what it had; a certificate is kept until its end."""
    branch, process, certificate = (
        RevocationTarget(kind, "0A", "bd", seconds=60, before=WALL - 10)
        for kind in (EntityKind.BRANCH, EntityKind.PROCESS, EntityKind.CERTIFICATE)
    )
    assert branch.dead_until(WALL) == certificate.dead_until(WALL) == limits.time_seconds_max
    assert process.dead_until(WALL) == WALL - 10 + limits.leeway_seconds
    assert process.dead_until(WALL - 20) == WALL - 20 + limits.leeway_seconds
    assert branch.expires(WALL) == process.expires(WALL) == WALL + limits.revocation_seconds
    assert certificate.expires(WALL) == WALL + 60 + limits.clock_distrust_seconds
    assert KINDS[EntityKind.CERTIFICATE].life_seconds_max == limits.gateway_life_seconds_max
