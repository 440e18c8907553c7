"""The operator's TOML file as frozen structs; `load` refuses what it does not understand."""

from crewgate.config.load import load
from crewgate.config.structs import (
    Audit,
    Config,
    Credential,
    Crew,
    Limits,
    Listener,
    Origin,
    Table,
    Tool,
    Upstream,
)

__all__ = [
    "Audit",
    "Config",
    "Credential",
    "Crew",
    "Limits",
    "Listener",
    "Origin",
    "Table",
    "Tool",
    "Upstream",
    "load",
]
