"""Finds crews whose names make their orchestrators look like somebody else in the audit.

Earlier versions accepted such names, so a configuration with one still loads, unless it has the
table [ui], which no earlier version knew.
"""

from collections.abc import Iterator
from typing import Final

from crewgate.config.model import Config
from crewgate.core.actors import RESERVED_CREW_NAMES, ActorKind

_LOOKS: Final = {
    ActorKind.PERSON: "people at the live page",
    ActorKind.LOCAL: "users of the machine",
    ActorKind.OPERATOR: "operators",
    ActorKind.GATEWAY: "machines",
    ActorKind.RULE: "rules on branches",
}


def reserved_crew_names(config: Config) -> Iterator[str]:
    """Yield a line for each crew with a reserved name."""
    for crew in config.crews:
        if crew.name in RESERVED_CREW_NAMES:
            yield (
                f"crew.{crew.name}: its orchestrators look like {_LOOKS[ActorKind(crew.name)]}: "
                f"the audit names both {crew.name}/NAME; rename the crew, and issue new "
                "certificates to its orchestrators"
            )
