"""Names who ordered something, as `by` of the audit, of messages and of receipts has it: KIND/NAME.

An orchestrator is named `CREW/NAME`. So a crew whose name is a kind would make its orchestrators
look like people, machines or rules.
"""

import enum
from typing import Final


class ActorKind(enum.StrEnum):
    """The kind of somebody or something that orders; `by` begins with its value.

    `PERSON`: a person who has logged in to the live page at an OpenID provider. `LOCAL`: a user of
    the machine who has opened the page with a link. `OPERATOR`: the holder of a certificate of this
    role. `GATEWAY`: another machine. `RULE`: a rule on branches.
    """

    PERSON = "person"
    LOCAL = "local"
    OPERATOR = "operator"
    GATEWAY = "gateway"
    RULE = "rule"

    def named(self, name: str) -> str:
        """Return `by` of an actor of this kind."""
        return f"{self.value}/{name}"

    def is_of(self, by: str) -> bool:
        """Return whether `by` names an actor of this kind."""
        return by.startswith(f"{self.value}/")

    def name_in(self, by: str) -> str:
        """Return the name in `by`; empty if `by` is of another kind."""
        return by.removeprefix(f"{self.value}/") if self.is_of(by) else ""


RESERVED_CREW_NAMES: Final = frozenset(kind.value for kind in ActorKind)
