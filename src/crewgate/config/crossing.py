"""[[crossing]]: one way across the crew boundary: who may call what without a token.

Says nothing of tokens: with one, a call is judged by it, crossing or not.
"""

from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.section import Section
from crewgate.config.values import Credits, Name
from crewgate.core import cross_crew_ids

Tools = Annotated[
    tuple[str, ...], values.listed(values.TOOL_PATTERN, limits.allowed_tools_max, least=1)
]


class CrossingConfig(msgspec.Struct, frozen=True):
    """Tools of crew `target` that orchestrators of crew `source` may call on their certificate.

    Credits are micro-credits. A run is a process of an orchestrator, over all renewals of its
    certificate.
    """

    source: Annotated[Name, "Crew whose orchestrators may call.", Key(name="from")]
    target: Annotated[Name, "Crew whose tools they may call.", Key(name="to")]
    tools: Annotated[Tools, "Tools of the crew `to`, by name or pattern."]
    credits_per_hour: Annotated[
        Credits, "Credits that all of them together may spend in an hour.", Key(absent="no limit")
    ] = limits.quota_micro_max
    credits_per_run: Annotated[
        Credits, "Credits that one process of an orchestrator may spend.", Key(absent="no limit")
    ] = limits.quota_micro_max

    @property
    def account(self) -> str:
        """The name under which its calls are charged."""
        return cross_crew_ids.account(self.source, self.target)

    def check(self, section: Section) -> None:
        """Something bounds what it costs."""
        ceilings = ("credits_per_hour", "credits_per_run")
        if section.given.isdisjoint(ceilings):
            section.problem(
                f"expected {', '.join(ceilings)} or both: nothing else bounds what it costs"
            )
