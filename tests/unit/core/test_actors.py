"""Who ordered something: the names in `by`."""

import pytest

from crewgate.core.actors import RESERVED_CREW_NAMES, ActorKind
from crewgate.core.x509.identity_extension import Identity, Role


def test_a_name_of_one_kind_is_of_no_other() -> None:
    by = ActorKind.GATEWAY.named("gw-2")
    assert by == "gateway/gw-2"
    assert [kind for kind in ActorKind if kind.is_of(by)] == [ActorKind.GATEWAY]
    assert ActorKind.GATEWAY.name_in(by) == "gw-2"
    assert ActorKind.PERSON.name_in(by) == ""
    assert not ActorKind.GATEWAY.is_of("gateways/gw-2")


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.GATEWAY])
def test_no_crew_can_have_the_name_of_a_role(role: Role) -> None:
    """The holder of a certificate without a crew is named by its role."""
    holder = Identity(role, "ada", bytes(16)).holder
    assert holder.partition("/")[0] in RESERVED_CREW_NAMES
