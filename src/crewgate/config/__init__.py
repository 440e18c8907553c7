"""Reads the operator's TOML file into frozen structs.

Each table has a struct, and the fields of the struct declare the keys of the table (`declaration`):
the allowed values, the meaning, the default, and whether a change needs a restart. `load` reads a
file by these declarations, and `validate` checks the rules between tables. `reference` makes the
documentation and a JSON schema from the declarations. An unknown key is an error.

To add a key, add a field to the struct of its table, and use the field.
"""

from crewgate.config.a2a import A2AConfig, A2AMethodConfig
from crewgate.config.admin import AdminConfig
from crewgate.config.alert import AlertConfig
from crewgate.config.ca import CAConfig, RemoteCAConfig
from crewgate.config.cluster import ClusterConfig, HostPort
from crewgate.config.crew import CrewConfig
from crewgate.config.crossing import CrossingConfig
from crewgate.config.export import ExportConfig, ReceiverURL
from crewgate.config.identity_provider import IdentityProviderConfig
from crewgate.config.ledger import Durability, LedgerConfig
from crewgate.config.listener import ControlConfig, ListenerConfig
from crewgate.config.load import load
from crewgate.config.mcp import MCPConfig, MCPPromptConfig, MCPResourceConfig, MCPToolConfig
from crewgate.config.mcp_group import MCPGroupConfig
from crewgate.config.model import Config
from crewgate.config.ocsp_client import OCSPClientConfig, OCSPMode
from crewgate.config.resource_limits import AuditConfig, AuditSync, LimitsConfig, TableConfig
from crewgate.config.route_keys import CORSConfig
from crewgate.config.tool import ToolConfig
from crewgate.config.ui import UIAccessConfig, UIConfig, UILoginConfig
from crewgate.config.upstream import (
    CredentialConfig,
    HealthCheckConfig,
    UpstreamConfig,
    UpstreamProtocol,
    UpstreamTLS,
)
from crewgate.config.upstream_origin import UpstreamOrigin

__all__ = [
    "A2AConfig",
    "A2AMethodConfig",
    "AdminConfig",
    "AlertConfig",
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
    "ExportConfig",
    "HealthCheckConfig",
    "HostPort",
    "IdentityProviderConfig",
    "LedgerConfig",
    "LimitsConfig",
    "ListenerConfig",
    "MCPConfig",
    "MCPGroupConfig",
    "MCPPromptConfig",
    "MCPResourceConfig",
    "MCPToolConfig",
    "OCSPClientConfig",
    "OCSPMode",
    "ReceiverURL",
    "RemoteCAConfig",
    "TableConfig",
    "ToolConfig",
    "UIAccessConfig",
    "UIConfig",
    "UILoginConfig",
    "UpstreamConfig",
    "UpstreamOrigin",
    "UpstreamProtocol",
    "UpstreamTLS",
    "load",
]
