"""The content of a configuration file as frozen structs, which all other packages use.

Paths are absolute, credits are micro-credits, and names are checked. The reader opens none of the
files that a struct names, so a key file may be missing. A struct never has a secret, only the place
where it is found.
"""

from pathlib import Path
from typing import Annotated, Final, cast

import msgspec

# Else the field `limits` hides it, since Python 3.14 looks up the names of a field later (PEP 649).
from crewgate import limits as bounds
from crewgate.config import values
from crewgate.config.a2a import A2AConfig
from crewgate.config.admin import AdminConfig
from crewgate.config.alert import AlertConfig
from crewgate.config.ca import CAConfig, RemoteCAConfig
from crewgate.config.call_limit import CallLimitConfig
from crewgate.config.cluster import ClusterConfig
from crewgate.config.crew import CrewConfig
from crewgate.config.crossing import CrossingConfig
from crewgate.config.declaration import Key, Scope, Table, TableList, TableMap, TableSchema
from crewgate.config.export import ExportConfig
from crewgate.config.identity_provider import IdentityProviderConfig
from crewgate.config.ledger import LedgerConfig
from crewgate.config.listener import ControlConfig, ListenerConfig
from crewgate.config.mcp import MCPConfig
from crewgate.config.mcp_group import MCPGroupConfig
from crewgate.config.ocsp_client import OCSPClientConfig
from crewgate.config.resource_limits import AuditConfig, LimitsConfig, TableConfig
from crewgate.config.rules import LoopsConfig, LoopsTable, RuleTables
from crewgate.config.tool import ToolConfig
from crewgate.config.traces import TracesConfig
from crewgate.config.ui import UIConfig
from crewgate.config.upstream import UpstreamConfig
from crewgate.config.values import FilePath, Name
from crewgate.core.mcp.pins.worker_pins import PinPolicy
from crewgate.core.x509 import identity_oids
from crewgate.core.x509.identity_oids import IdentityOIDs
from crewgate.errors import ConfigurationError

SEALING_KEYS = "sealing.keys"


def _ledger(scope: Scope) -> LedgerConfig:
    return LedgerConfig("sqlite", scope["state"] / "ledger.db")


def _sealing_keys(scope: Scope) -> Path:
    return cast("Path", scope["state"] / SEALING_KEYS)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration file. The module `judged_tools` numbers its tools."""

    path: Path
    state: Annotated[
        FilePath,
        "Folder of this machine's sockets, table, ledger and audit.",
        Key(default=Path("state"), restart=True),
    ]
    audience: Annotated[str, values.CLAIM, "Value that every token's `aud` must have."]
    workers: Annotated[
        int,
        values.integer(0, bounds.workers_max),
        "Processes that serve calls; 0 if only embedded verifiers use this machine.",
        Key(default=2),
    ]
    drain_seconds: Annotated[
        float,
        values.seconds(bounds.drain_seconds_max),
        "Time in which a worker must end; calls under way get four fifths of it.",
        Key(default=bounds.drain_seconds_default),
    ]
    name: Annotated[
        Name,
        "Name of this machine among members, in leases, audit and receipts.",
        Key(absent="the name of the host and random digits", restart=True),
    ] = ""
    sealing_keys: Annotated[
        FilePath,
        "File of the keys that seal ids of tasks and sessions. All machines need the same keys.",
        Key(default=_sealing_keys, absent=f"`{SEALING_KEYS}` in the folder `state`"),
    ]
    ca: Annotated[
        CAConfig | None, "The internal CA, whose certificates listeners ask clients for."
    ] = None
    listeners: Annotated[
        tuple[ListenerConfig, ...],
        "An address at which agents connect, over TLS.",
        TableList(name="listener", max_count=bounds.listeners_max),
    ]
    crews: Annotated[
        tuple[CrewConfig, ...],
        "A crew: the keys that sign its tokens, and the most that they can grant. Do not name it "
        "person, local, operator, gateway or rule: the audit names others so.",
        TableMap(name="crew", max_count=bounds.crews_max),
    ]
    identity_providers: Annotated[
        tuple[IdentityProviderConfig, ...],
        "An identity provider: it says on behalf of which person a run begins.",
        TableMap(name="identity_provider", max_count=bounds.identity_providers_max),
    ] = ()
    upstreams: Annotated[
        tuple[UpstreamConfig, ...],
        "The servers of one or more tools.",
        TableMap(name="upstream", max_count=bounds.upstreams_max),
    ]
    tools: Annotated[
        tuple[ToolConfig, ...],
        "A tool: a name to grant, a route, a price in credits.",
        TableMap(name="tool", max_count=bounds.tools_max, names=values.TOOL_NAME),
    ]
    mcp: Annotated[
        tuple[MCPConfig, ...],
        "An endpoint of the Model Context Protocol: one path in front of one MCP server.",
        TableMap(name="mcp", max_count=bounds.mcp_endpoints_max),
    ] = ()
    mcp_groups: Annotated[
        tuple[MCPGroupConfig, ...],
        "A path in front of several MCP endpoints, which clients use there as one server.",
        TableMap(name="mcp_group", max_count=bounds.mcp_groups_max),
    ] = ()
    a2a: Annotated[
        tuple[A2AConfig, ...],
        "An endpoint of the Agent2Agent protocol: one path in front of one agent.",
        TableMap(name="a2a", max_count=bounds.a2a_endpoints_max),
    ] = ()
    loops: LoopsTable = LoopsConfig()
    rules: RuleTables = ()
    audit: Annotated[AuditConfig, "The files that record every call."]
    traces: Annotated[TracesConfig, "How calls take part in traces (W3C Trace Context)."] = (
        TracesConfig()
    )
    table: Annotated[TableConfig, "Capacities of the table in shared memory.", Table(restart=True)]
    limits: Annotated[LimitsConfig, "Bounds that may be changed."]
    ledger: Annotated[
        LedgerConfig,
        "The place of all budgets.",
        Table(default=_ledger, absent="`ledger.db` in the folder `state`", restart=True),
    ]
    control: Annotated[
        ControlConfig | None, "The control API, for clients with a certificate of the CA."
    ] = None
    admin: Annotated[AdminConfig | None, "Where this machine answers probes, over plain HTTP."] = (
        None
    )
    ui: Annotated[
        UIConfig | None, "The live page, where people watch and steer from a browser."
    ] = None
    exports: Annotated[
        tuple[ExportConfig, ...],
        "A receiver of the audit: a collector, a syslog server, a SIEM, or an archive.",
        TableMap(name="export", max_count=bounds.exports_max),
    ] = ()
    alerts: Annotated[
        tuple[AlertConfig, ...],
        "A receiver of alerts: what a person must know, or must do something about.",
        TableMap(name="alert", max_count=bounds.alert_receivers_max),
    ] = ()
    cluster: Annotated[
        ClusterConfig | None, "The other machines of the trust domain, which share revocations."
    ] = None
    crossings: Annotated[
        tuple[CrossingConfig, ...],
        "Tools of one crew that another may call with a client certificate and no token.",
        TableList(name="crossing", max_count=bounds.crossings_max),
    ] = ()

    call_limits: Annotated[
        tuple[CallLimitConfig, ...],
        "A limit on calls: how often tools may be called, or how many calls may run at once.",
        TableMap(name="limit", max_count=bounds.call_limits_max),
    ] = ()

    @property
    def remote(self) -> RemoteCAConfig | None:
        """The control API that `[ca]` names, with the certificate that this machine presents."""
        control = self.ca.control if self.ca is not None else None
        if control is None or control.certificate is not None or self.cluster is None:
            return control
        return RemoteCAConfig(control.url, self.cluster.certificate, self.cluster.key)

    @property
    def identity_oids(self) -> IdentityOIDs:
        """The OIDs under which this machine reads identities in certificates."""
        return self.ca.identity_oids if self.ca is not None else identity_oids.STANDARD

    @property
    def queried_ca(self) -> tuple[CAConfig, OCSPClientConfig] | None:
        """The CA and its OCSP responder, if a listener asks for the status of certificates."""
        is_used = any(listener.ocsp != "off" for listener in self.listeners)
        if self.ca is None or self.ca.ocsp is None or not is_used:
            return None
        return self.ca, self.ca.ocsp

    @property
    def clients(self) -> tuple[UpstreamConfig | ExportConfig, ...]:
        """The upstreams and receivers, each of which may have a credential and files for TLS."""
        return *self.upstreams, *self.exports

    @property
    def seals_ids(self) -> bool:
        """Whether a worker seals ids, which it does at the endpoints."""
        return bool(self.mcp or self.a2a)

    @property
    def pin_policies(self) -> dict[str, PinPolicy]:
        """The pin policy of each MCP endpoint, by its name."""
        return {endpoint.name: endpoint.pin_policy for endpoint in self.mcp}

    def members_of(self, group: MCPGroupConfig) -> list[MCPConfig]:
        """Return the endpoints of a group that exist, as its clients reach them."""
        known = {endpoint.name: endpoint for endpoint in self.mcp}
        return [group.member(known[name]) for name in group.servers if name in known]

    @property
    def has_own_sealing_keys(self) -> bool:
        """Whether the agent makes the file `sealing_keys`, since it has its default place."""
        return self.sealing_keys == self.state / SEALING_KEYS

    def crew(self, name: str) -> CrewConfig:
        """Return the crew of that name; raise a ConfigurationError with all names if none is."""
        for crew in self.crews:
            if crew.name == name:
                return crew
        known = ", ".join(crew.name for crew in self.crews) or "none"
        raise ConfigurationError(f"{self.path}: no crew {name!r}; the file has: {known}")

    @property
    def journal_folder(self) -> Path:
        """The folder of the journals of orchestrators."""
        return self.state / "issuer"

    def journal_of(self, orchestrator: str) -> Path:
        """Return the path of the journal of an orchestrator, by its `client_id`."""
        return self.journal_folder / f"{orchestrator.replace('/', '+')}.jsonl"

    def command_journal_of(self, orchestrator: str) -> Path:
        """Return the path of the journal in which commands write what they mint for it."""
        return self.journal_folder / "commands" / f"{orchestrator.replace('/', '+')}.jsonl"


# The declarations of all keys of a file.
CONFIG: Final = TableSchema(Config)
