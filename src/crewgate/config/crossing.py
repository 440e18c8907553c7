"""The table [[crossing]]: calls from one crew to another with a certificate and without a token.

A call with a token is decided by the token, whether there is a crossing or not.
"""

from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Credits, Name
from crewgate.core import cross_crew_accounts

Tools = Annotated[
    tuple[str, ...], values.listed(values.TOOL_PATTERN, limits.allowed_tools_max, min_count=1)
]


class CrossingConfig(msgspec.Struct, frozen=True):
    """Tools of crew `target` that orchestrators of crew `source` may call with a certificate.

    Credits are micro-credits. A run is one process of an orchestrator, over all renewals of its
    certificate.
    """

    source: Annotated[Name, "Crew whose orchestrators may call.", Key(name="from")]
    target: Annotated[Name, "Crew whose tools they may call.", Key(name="to")]
    tools: Annotated[Tools, "Tools of the crew `to`, by name or pattern."]
    credits_per_hour: Annotated[
        Credits,
        "Credits that all of them together may spend in an hour.",
        Key(absent="no limit; the other limit is then required"),
    ] = limits.quota_micro_max
    credits_per_run: Annotated[
        Credits,
        "Credits that one process of an orchestrator may spend.",
        Key(absent="no limit; the other limit is then required"),
    ] = limits.quota_micro_max

    @property
    def account(self) -> str:
        """The name of the account that pays for the calls."""
        return cross_crew_accounts.account(self.source, self.target)

    def check(self, section: TOMLTableReader) -> None:
        """Note if nothing bounds the cost."""
        ceilings = ("credits_per_hour", "credits_per_run")
        if section.given.isdisjoint(ceilings):
            section.problem(f"expected {', '.join(ceilings)} or both: nothing else bounds the cost")
