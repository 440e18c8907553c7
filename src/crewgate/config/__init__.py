"""The operator's TOML file as frozen structs; `load` refuses what it does not understand."""

from crewgate.config.ca import CA, Control, Remote
from crewgate.config.cluster import Cluster, Place
from crewgate.config.crossing_model import Crossing
from crewgate.config.load import load
from crewgate.config.model import (
    Audit,
    AuditSync,
    Config,
    Cors,
    Credential,
    Crew,
    Dialect,
    Durability,
    Health,
    Ledger,
    Limits,
    Listener,
    Origin,
    Table,
    Tool,
    Upstream,
    UpstreamTLS,
)
from crewgate.config.ocsp import OCSPMode, Responder

__all__ = [
    "CA",
    "Audit",
    "AuditSync",
    "Cluster",
    "Config",
    "Control",
    "Cors",
    "Credential",
    "Crew",
    "Crossing",
    "Dialect",
    "Durability",
    "Health",
    "Ledger",
    "Limits",
    "Listener",
    "OCSPMode",
    "Origin",
    "Place",
    "Remote",
    "Responder",
    "Table",
    "Tool",
    "Upstream",
    "UpstreamTLS",
    "load",
]
