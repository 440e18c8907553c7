"""From a TOML document to a `Config`, section by section: every key read by its kind.

Knows the keys and their defaults. What holds between sections is `validate`'s; opens nothing.
"""

from pathlib import Path
from typing import cast

from crewgate import limits
from crewgate.config import values
from crewgate.config.ca import CAConfig, ControlConfig, read_remote
from crewgate.config.cluster_section import read_cluster
from crewgate.config.crossings import read_crossings
from crewgate.config.ledger import read_ledger
from crewgate.config.minting_watch import read_watch
from crewgate.config.model import (
    AuditConfig,
    AuditSync,
    ClientCertificate,
    Config,
    CORSConfig,
    CrewConfig,
    DecideOn,
    LimitsConfig,
    ListenerConfig,
    Mode,
    OnFull,
    TableConfig,
    ToolConfig,
    WhenStale,
)
from crewgate.config.ocsp import OCSPMode, read_responder
from crewgate.config.prices import PRICE, read_tariff
from crewgate.config.section import Section, ValueType
from crewgate.config.upstreams import read_upstream
from crewgate.core.bearer import CARRIERS
from crewgate.core.policy.policy import SHARED

MODE: ValueType[Mode] = values.one_of("enforce", "observe")
_DECIDE_ON: ValueType[DecideOn] = values.one_of("headers", "body")
_WHEN_STALE: ValueType[WhenStale] = values.one_of("closed", "open")
_KEPT = values.integer(limits.audit_keep_bytes_min, limits.audit_keep_bytes_max)
_ON_FULL: ValueType[OnFull] = values.one_of("refuse", "continue")
_SYNC: ValueType[AuditSync] = values.one_of("second", "each", "never")
_CARRIER = values.one_of(*CARRIERS)
_CLIENT_CERTIFICATE: ValueType[ClientCertificate] = values.one_of("none", "optional", "required")
_OCSP: ValueType[OCSPMode] = values.one_of("required", "soft-fail", "off")
_CREWS = values.listed(values.NAME, limits.crews_max, least=1)
_FIELDS = values.listed(values.FIELD, limits.fields_max)
_WEB_ORIGINS = values.listed(values.WEB_ORIGIN, limits.fields_max, least=1)
_ALLOWANCE = values.credits_up_to(limits.quota_micro_max)


def decode(file: Path, top: Section) -> Config:
    """The configuration; what is wrong with it is noted in the section's problems."""
    folder = file.parent
    path = values.path_from(folder)
    state = top.optional("state", path, folder / "state")
    return Config(
        path=file,
        audience=top.required("audience", values.CLAIM),
        state=state,
        workers=top.optional("workers", values.integer(0, limits.workers_max), 2),
        drain_seconds=top.optional(
            "drain_seconds", values.seconds(limits.drain_seconds_max), limits.drain_seconds_default
        ),
        ca=(ca := _ca(top.child("ca"), path, folder)),
        listeners=tuple(
            _listener(item, path, ca) for item in top.items("listener", limits.listeners_max)
        ),
        crews=tuple(
            _crew(name, item, path) for name, item in top.children("crew", limits.crews_max)
        ),
        upstreams=tuple(
            read_upstream(_named(item, name, values.NAME), item, path)
            for name, item in top.children("upstream", limits.upstreams_max)
        ),
        tools=tuple(_tool(name, item) for name, item in top.children("tool", limits.tools_max)),
        audit=_audit(top.child("audit"), state, path),
        table=_table(top.child("table")),
        limits=_limits(top.child("limits")),
        ledger=read_ledger(top.child("ledger"), state, path),
        control=_control(top.child("control"), path),
        cluster=read_cluster(top.child("cluster"), path),
        crossings=read_crossings(top),
        name=top.optional("name", values.NAME, ""),
    )


def _named(section: Section, name: str, kind: ValueType[str]) -> str:
    try:
        return kind.read(name)
    except ValueError:
        section.problem(f"the name {name!r}: expected {kind.expected}")
        return name


def _listener(section: Section, path: ValueType[Path], ca: CAConfig | None) -> ListenerConfig:
    client_certificate: ClientCertificate = section.optional(
        "client_certificate", _CLIENT_CERTIFICATE, "none"
    )
    asks = client_certificate != "none" and ca is not None and ca.ocsp is not None
    listener = ListenerConfig(
        name=section.required("name", values.NAME),
        address=section.required("address", values.ADDRESS),
        port=section.required("port", values.PORT),
        certificate=section.required("certificate", path),
        key=section.required("key", path),
        mode=section.optional("mode", MODE, "enforce"),
        hosts=section.optional("hosts", values.listed(values.HOST, limits.fields_max), ()),
        client_certificate=client_certificate,
        crews=section.optional("crews", cast("ValueType[tuple[str, ...] | None]", _CREWS), None),
        ocsp=section.optional("ocsp", _OCSP, "required" if asks else "off"),
    )
    if listener.crews is not None and listener.client_certificate == "none":
        section.problem(
            'crews: nobody shows a certificate here; add client_certificate = "required"'
        )
    section.close()
    return listener


def _control(section: Section | None, path: ValueType[Path]) -> ControlConfig | None:
    if section is None:
        return None
    control = ControlConfig(
        address=section.required("address", values.ADDRESS),
        port=section.required("port", values.PORT),
        certificate=section.required("certificate", path),
        key=section.required("key", path),
    )
    section.close()
    return control


def _ca(section: Section | None, path: ValueType[Path], folder: Path) -> CAConfig | None:
    if section is None:
        return None
    ca = CAConfig(
        folder=section.optional("folder", path, folder / "ca"),
        root=section.optional("root", path, folder / "certs" / "ca.pem"),
        crl=section.optional("crl", path, folder / "certs" / "crl.pem"),
        trust_domain=section.required("trust_domain", values.HOST_NAME),
        life_seconds=section.optional(
            "life_seconds",
            values.integer(1, limits.certificate_life_seconds_max),
            limits.certificate_life_seconds,
        ),
        passphrase_file=section.optional(
            "passphrase_file", cast("ValueType[Path | None]", path), None
        ),
        ocsp=read_responder(section, path),
        control=read_remote(section, path),
    )
    section.close()
    return ca


def _crew(name: str, section: Section, path: ValueType[Path]) -> CrewConfig:
    crew = CrewConfig(
        name=_named(section, name, values.NAME),
        issuer=section.required("issuer", values.CLAIM),
        jwks=section.required("jwks", path),
        tools=section.required(
            "tools", values.listed(values.TOOL_PATTERN, limits.allowed_tools_max)
        ),
        signing_key=section.optional("signing_key", cast("ValueType[Path | None]", path), None),
        mode=section.optional("mode", MODE, "enforce"),
        watch=read_watch(section.child("watch")),
        **ceilings(section),
    )
    section.close()
    return crew


def ceilings(section: Section) -> dict[str, int]:
    """A crew's ceilings that are numbers, by their keys; one that is not given does not apply."""
    return {
        **{
            key: section.optional(key, _ALLOWANCE, limits.quota_micro_max)
            for key in ("credits_per_branch", "credits_per_hour", "credits_per_day")
        },
        **{
            key: section.optional(key, values.integer(1, most), most)
            for key, most in (
                ("live_branches", limits.table_branches_max),
                ("new_branches_per_minute", limits.table_branches_max),
                ("live_revocations", limits.table_revocations_max),
                ("lifetime_seconds", limits.token_lifetime_seconds_max),
            )
        },
        "depth": section.optional("depth", values.integer(0, limits.depth_max), limits.depth_max),
    }


def _tool(name: str, section: Section) -> ToolConfig:
    cors = section.child("cors")
    tariff = read_tariff(section)
    tool = ToolConfig(
        name=_named(section, name, values.TOOL_NAME),
        method=section.required("method", values.METHOD),
        path=section.required("path", values.ROUTE_PATH),
        upstream=section.required("upstream", values.NAME),
        price=section.required("price", PRICE) if tariff is None else tariff.max_cost,
        owner=section.optional("owner", values.NAME, SHARED),
        decide_on=section.optional("decide_on", _DECIDE_ON, "headers"),
        mode=section.optional("mode", MODE, "enforce"),
        carriers=section.optional("carriers", values.listed(_CARRIER, 3), ("authorization",)),
        allow_fields=section.optional("allow_fields", _FIELDS, ()),
        body_bytes_max=section.optional(
            "body_bytes_max",
            values.integer(0, limits.tool_body_bytes_max),
            limits.request_body_bytes_max,
        ),
        cors=None if cors is None else _cors(cors),
        tariff=tariff,
        when_stale=section.optional("when_stale", _WHEN_STALE, "closed"),
        hosts=section.optional("hosts", values.listed(values.HOST, limits.fields_max), ()),
        rewrite=section.optional("rewrite", cast("ValueType[str | None]", values.ROUTE_PATH), None),
    )
    section.close()
    return tool


def _cors(section: Section) -> CORSConfig:
    default = CORSConfig(())
    cors = CORSConfig(
        origins=section.required("origins", _WEB_ORIGINS),
        headers=section.optional("headers", _FIELDS, default.headers),
        max_age_seconds=section.optional(
            "max_age_seconds",
            values.integer(0, limits.cors_max_age_seconds_max),
            default.max_age_seconds,
        ),
    )
    section.close()
    return cors


def _audit(section: Section | None, state: Path, path: ValueType[Path]) -> AuditConfig:
    default = AuditConfig(folder=state / "audit")
    if section is None:
        return default
    audit = AuditConfig(
        folder=section.optional("folder", path, default.folder),
        rotate_bytes=section.optional(
            "rotate_bytes",
            values.integer(limits.audit_rotate_bytes_min, limits.audit_rotate_bytes_max),
            default.rotate_bytes,
        ),
        rotate_seconds=section.optional(
            "rotate_seconds",
            values.integer(1, limits.audit_rotate_seconds_max),
            default.rotate_seconds,
        ),
        keep_bytes=section.optional("keep_bytes", cast("ValueType[int | None]", _KEPT), None),
        on_full=section.optional("on_full", _ON_FULL, default.on_full),
        sync=section.optional("sync", _SYNC, default.sync),
    )
    section.close()
    return audit


def _table(section: Section | None) -> TableConfig:
    default = TableConfig()
    if section is None:
        return default
    table = TableConfig(
        **{
            key: section.optional(
                key, values.power_of_two(limits.table_records_min, most), getattr(default, key)
            )
            for key, most in (
                ("branches", limits.table_branches_max),
                ("revocations", limits.table_revocations_max),
                ("reservations", limits.table_reservations_max),
            )
        }
    )
    section.close()
    return table


def _limits(section: Section | None) -> LimitsConfig:
    """Any field of `LimitsConfig`, at most the bound of its name."""
    default = LimitsConfig()
    if section is None:
        return default
    seconds, connections = "credit_wait_seconds_max", "connections_max"
    chosen = LimitsConfig(
        credit_wait_seconds_max=section.optional(
            seconds, values.below(limits.credit_wait_seconds_max), default.credit_wait_seconds_max
        ),
        connections_max=section.optional(
            connections, values.integer(1, limits.connections_max), default.connections_max
        ),
    )
    section.close()
    return chosen
