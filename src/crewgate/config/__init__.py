"""The operator's TOML file as frozen structs.

`load` reads the file, `decode` and the section modules read the keys, `validate` checks the rules
between sections. A key that Crewgate does not know is an error.
"""

from crewgate.config.ca import CAConfig, ControlConfig, RemoteCAConfig
from crewgate.config.cluster import ClusterConfig, HostPort
from crewgate.config.crossing_model import CrossingConfig
from crewgate.config.load import load
from crewgate.config.model import (
    AuditConfig,
    AuditSync,
    Config,
    CORSConfig,
    CredentialConfig,
    CrewConfig,
    Durability,
    HealthCheckConfig,
    LedgerConfig,
    LimitsConfig,
    ListenerConfig,
    TableConfig,
    ToolConfig,
    UpstreamConfig,
    UpstreamOrigin,
    UpstreamProtocol,
    UpstreamTLS,
)
from crewgate.config.ocsp import OCSPMode, ResponderConfig

__all__ = [
    "AuditConfig",
    "AuditSync",
    "CAConfig",
    "CORSConfig",
    "ClusterConfig",
    "Config",
    "ControlConfig",
    "CredentialConfig",
    "CrewConfig",
    "CrossingConfig",
    "Durability",
    "HealthCheckConfig",
    "HostPort",
    "LedgerConfig",
    "LimitsConfig",
    "ListenerConfig",
    "OCSPMode",
    "RemoteCAConfig",
    "ResponderConfig",
    "TableConfig",
    "ToolConfig",
    "UpstreamConfig",
    "UpstreamOrigin",
    "UpstreamProtocol",
    "UpstreamTLS",
    "load",
]
