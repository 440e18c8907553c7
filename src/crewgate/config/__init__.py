"""The operator's TOML file as frozen structs; `load` refuses what it does not understand."""

from crewgate.config.crossing import Crossing
from crewgate.config.load import load
from crewgate.config.structs import (
    CA,
    Audit,
    Config,
    Cors,
    Credential,
    Crew,
    Dialect,
    Health,
    Limits,
    Listener,
    Origin,
    Table,
    Tool,
    Upstream,
    UpstreamTLS,
)

__all__ = [
    "CA",
    "Audit",
    "Config",
    "Cors",
    "Credential",
    "Crew",
    "Crossing",
    "Dialect",
    "Health",
    "Limits",
    "Listener",
    "Origin",
    "Table",
    "Tool",
    "Upstream",
    "UpstreamTLS",
    "load",
]
