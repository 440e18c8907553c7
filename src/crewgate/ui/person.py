"""A person who uses the live page, and what this person may see and do there."""

import enum
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from crewgate import limits
from crewgate.core import cross_crew_accounts, problem_types

ALL_CREWS: Final = "*"  # no crew can have this name

# How a person has proved who it is: at an identity provider, with the certificate of an operator,
# or as a user of this machine who may use the agent's admin socket.
LoginWay = Literal["login", "certificate", "local"]


class Right(enum.StrEnum):
    """What a person may do for some crews.

    `VIEW`: see branches, machines, alerts and the audit. `OPERATE`: end and quarantine, and lift
    that. `BUDGET`: give back burned credits. `CA`: revoke the certificates of orchestrators.
    """

    VIEW = "view"
    OPERATE = "operate"
    BUDGET = "budget"
    CA = "ca"


class Person(msgspec.Struct, frozen=True):
    """A person with rights.

    `name` is how the audit names the person: `person/NAME`, `operator/NAME` or `local/NAME`.
    `rights` has the crews of each right; `ALL_CREWS` stands for all, and for what is of no crew.
    """

    name: str
    way: LoginWay
    rights: Mapping[Right, frozenset[str]]

    @property
    def by(self) -> str:
        """The name in records of the audit; a very long one is cut."""
        return self.name[: limits.by_chars_max]

    def may(self, right: Right, crew: str) -> bool:
        """Return whether the person has a right for a crew; an empty name is what is of no crew.

        An account of calls between crews belongs to the crew that calls.
        """
        held = self.rights.get(right, frozenset())
        return ALL_CREWS in held or (bool(crew) and cross_crew_accounts.caller(crew) in held)

    def may_somewhere(self, right: Right) -> bool:
        """Return whether the person has a right for any crew."""
        return bool(self.rights.get(right))

    def demand(self, right: Right, crew: str) -> None:
        """Raise ControlError 403 unless the person has a right for a crew."""
        if not self.may(right, crew):
            whose = f"crew {crew}" if crew else "all crews"
            raise problem_types.NOT_PERMITTED.error(f"you lack the right {right.value} for {whose}")


def all_rights() -> dict[Right, frozenset[str]]:
    """Return each right for all crews."""
    return dict.fromkeys(Right, frozenset({ALL_CREWS}))


def rights_of(
    grants: Iterable[tuple[Iterable[Right], Iterable[str] | None]],
) -> dict[Right, frozenset[str]]:
    """Return the sum of several grants of rights: each has rights, and crews or None for all.

    A person who may do something for a crew may also see it.
    """
    found: dict[Right, set[str]] = {right: set() for right in Right}
    for rights, crews in grants:
        names = {ALL_CREWS} if crews is None else {*crews}
        for right in (*rights, Right.VIEW):
            found[right] |= names
    return {right: frozenset(crews) for right, crews in found.items() if crews}
