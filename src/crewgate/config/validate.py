"""Checks the rules between the tables of a configuration, after each table by itself is good.

A problem is one line that names the key to change. The checks open no file.
"""

from collections.abc import Callable, Iterator
from os.path import normpath

from crewgate import limits
from crewgate.config.admin import AdminConfig
from crewgate.config.call_limit_mistakes import limit_mistakes
from crewgate.config.cluster import ClusterConfig
from crewgate.config.crossing import CrossingConfig
from crewgate.config.judged_tools import covers, judged_tools
from crewgate.config.listener import ControlConfig, ListenerConfig
from crewgate.config.model import Config
from crewgate.config.reserved_crew_names import reserved_crew_names
from crewgate.config.route_builder import mistakes, tables
from crewgate.config.rules import loop_rules, rule_problems
from crewgate.config.ui import UIConfig
from crewgate.core.policy.policy import SHARED
from crewgate.runtime.state_sockets import STATE_SOCKETS

Listening = ListenerConfig | ControlConfig | ClusterConfig | AdminConfig | UIConfig
_OURS = "x-crewgate-"
_SECRET = frozenset({"authorization", "cookie"})
# These fields frame a message or end at the next hop (RFC 9110, sections 7.2 and 7.6.1; RFC 9112).
_FRAMING = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding",
     "upgrade"}
)  # fmt: skip


def validate(config: Config) -> list[str]:
    """Return every problem between tables, in the order of the checks."""
    checks: tuple[Callable[[Config], Iterator[str]], ...] = (
        _listeners,
        _places,
        _admin_socket,
        _certificates,
        _crews,
        _identity_providers,
        _tools,
        _endpoint_names,
        _groups,
        _agents,
        mistakes,
        _credentials,
        _exports,
        _alerts,
        _page,
        _workers,
        _crossings,
        limit_mistakes,
        _rules,
        _cluster,
    )
    return [problem for check in checks for problem in check(config)]


def _listeners(config: Config) -> Iterator[str]:
    names: set[str] = set()
    for listener in config.listeners:
        if listener.name in names:
            yield f'listener "{listener.name}": two listeners have this name; rename one'
        names.add(listener.name)
    if config.control is not None and config.ca is None:
        yield "control: there is no [ca] whose certificates it could accept; add the table"


def _rules(config: Config) -> Iterator[str]:
    crews = {crew.name for crew in config.crews}
    for rule in config.rules:
        if rule.crew is not None and rule.crew not in crews:
            known = ", ".join(sorted(crews)) or "none"
            yield f'rule.{rule.name}.crew = "{rule.crew}": no such crew; known: {known}'
    yield from rule_problems(loop_rules(config.loops, config.rules))


def _places(config: Config) -> Iterator[str]:
    """Yield a problem for each section that has the address and port of another one."""
    sections: list[tuple[str, str, Listening | None]] = [
        ("control", "[control]", config.control),
        ("cluster", "[cluster]", config.cluster),
        ("admin", "[admin]", config.admin),
        ("ui", "[ui]", config.ui),
        *((f'listener "{each.name}"', each.name, each) for each in config.listeners),
    ]
    taken: dict[tuple[str, int], str] = {}
    for where, name, each in sections:
        if each is None or each.port is None:
            continue
        other = taken.setdefault((each.address, each.port), name)
        if other != name:
            yield (
                f'{where}: "{other}" has the same address and port ({each.address} port '
                f"{each.port}); give one of them a different port"
            )


def _admin_socket(config: Config) -> Iterator[str]:
    """Yield a problem if [admin] names a socket at which another process listens."""
    if config.admin is None or config.admin.socket is None:
        return
    path = normpath(config.admin.socket)
    if path in {normpath(config.state / name) for name in STATE_SOCKETS}:
        yield (
            f'admin.socket = "{path}": another process of this machine listens at this socket; '
            'give another path, such as "state/admin.sock"'
        )


def _certificates(config: Config) -> Iterator[str]:
    control = config.ca and config.ca.control
    if control and control.certificate is None and config.cluster is None:
        yield (
            "ca.control: without [cluster] this machine has no certificate to present there; add "
            "control_certificate and control_key, which this CA issued to a gateway"
        )
    for listener in config.listeners:
        if listener.client_certificate != "none" and config.ca is None:
            yield (
                f'listener "{listener.name}".client_certificate: there is no [ca] whose '
                "certificates it could accept; add the table"
            )
        if listener.ocsp != "off" and (config.ca is None or config.ca.ocsp is None):
            yield f'listener "{listener.name}".ocsp: there is no responder; set ocsp in [ca]'
        elif listener.ocsp != "off" and listener.client_certificate == "none":
            yield (
                f'listener "{listener.name}".ocsp: clients present no certificate here; add '
                'client_certificate = "required"'
            )
        known = {crew.name for crew in config.crews}
        for crew in listener.crews or ():
            if crew not in known:
                yield (
                    f'listener "{listener.name}".crews: no crew "{crew}"; known: {_known(known)}'
                )


def _crews(config: Config) -> Iterator[str]:
    files: dict[object, str] = {}
    for crew in config.crews:
        if crew.name == SHARED:
            yield f'crew.{SHARED}: "{SHARED}" means every crew; choose another name'
        other = files.setdefault(crew.jwks, crew.name)
        if other != crew.name:
            yield (f"crew.{crew.name}.jwks: crew.{other} has this file too; give each crew its own")


def _identity_providers(config: Config) -> Iterator[str]:
    crews = {crew.name for crew in config.crews}
    taken = {crew.issuer: f"crew.{crew.name}" for crew in config.crews}
    for provider in config.identity_providers:
        where = f"identity_provider.{provider.name}"
        other = taken.setdefault(provider.issuer, where)
        if other != where:
            yield (
                f"{where}.issuer: [{other}] has this issuer too, so a token could be of either; "
                "give each its own"
            )
        for crew in provider.crews or ():
            if crew not in crews:
                yield f'{where}.crews: no crew "{crew}"; known: {_known(crews)}'


def _tools(config: Config) -> Iterator[str]:
    upstreams = {upstream.name for upstream in config.upstreams}
    crews = {crew.name for crew in config.crews}
    carriers: dict[str, str] = {}
    served = tables(config)
    for label, tool in served.items():
        for name in tool.carriers:
            carriers.setdefault(name, label)
    for label, tool in served.items():
        if tool.upstream not in upstreams:
            yield (
                f'{label}.upstream = "{tool.upstream}": no such upstream; '
                f"known: {_known(upstreams)}"
            )
        if tool.owner not in crews | {SHARED}:
            yield (
                f'{label}.owner = "{tool.owner}": no such crew; known: {_known(crews)}; '
                f'a tool of no crew has the owner "{SHARED}"'
            )
        if not tool.carriers:
            yield f"{label}.carriers: empty, so no call has a token; name one"
        for field in tool.allow_fields:
            where = f'{label}.allow_fields: "{field}"'
            if field.replace("_", "-").startswith(_OURS) or field in _SECRET:
                yield f"{where} is never passed on; remove it"
            elif field in carriers:
                yield (
                    f"{where} is never passed on: {carriers[field]}.carriers names it, so "
                    "clients put their tokens there; remove it from one of them"
                )


def _endpoint_names(config: Config) -> Iterator[str]:
    """Yield each name that two tools would share: one of a table, the other of an endpoint."""
    endpoints = {endpoint.name: f"mcp.{endpoint.name}" for endpoint in config.mcp}
    for agent in config.a2a:
        other = endpoints.setdefault(agent.name, f"a2a.{agent.name}")
        if other != f"a2a.{agent.name}":
            yield f"a2a.{agent.name}: [{other}] has this name too; rename one of them"
    for group in config.mcp_groups:
        table = f"mcp_group.{group.name}"
        other = endpoints.setdefault(group.name, table)
        if other != table:
            yield f"{table}: [{other}] has this name too; rename one of them"
    for tool in config.tools:
        first = tool.name.replace(":", ".").partition(".")[0]
        if first in endpoints:
            yield (
                f'tool."{tool.name}": names that begin with "{first}" belong to '
                f"[{endpoints[first]}]; rename one of them"
            )


def _groups(config: Config) -> Iterator[str]:
    """Yield each server of a group that is no endpoint."""
    known = {endpoint.name for endpoint in config.mcp}
    for group in config.mcp_groups:
        for server in group.servers:
            if server not in known:
                yield (f"mcp_group.{group.name}.servers: no [mcp.{server}]; known: {_known(known)}")


def _agents(config: Config) -> Iterator[str]:
    """Yield each gRPC server of an agent that cannot be one."""
    upstreams = {upstream.name: upstream for upstream in config.upstreams}
    for agent in config.a2a:
        if agent.grpc is None:
            continue
        upstream, where = upstreams.get(agent.grpc), f'a2a.{agent.name}.grpc = "{agent.grpc}"'
        if upstream is None:
            yield f"{where}: no such upstream; known: {_known({*upstreams})}"
        elif upstream.protocol != "h2":
            yield f'{where}: gRPC needs HTTP/2; write protocol = "h2" in [upstream.{agent.grpc}]'


def _credentials(config: Config) -> Iterator[str]:
    upstreams = ((f"upstream.{each.name}", each.credential) for each in config.upstreams)
    receivers = ((f"export.{each.name}", each.credential) for each in config.exports)
    for table, credential in (*upstreams, *receivers):
        if credential is None:
            continue
        header = credential.header
        where = f'{table}.credential.header = "{header}"'
        if header.replace("_", "-").startswith(_OURS):
            yield f"{where}: the gateway tells the tool by these fields who calls; choose another"
        if header in _FRAMING:
            yield f"{where}: this field frames the message; choose another"


def _exports(config: Config) -> Iterator[str]:
    """Yield a problem for each place of two receivers: one would spoil what the other writes."""
    places: dict[str, str] = {}
    for receiver in config.exports:
        found = {
            "file": receiver.file and normpath(receiver.file),
            "folder": receiver.folder and normpath(receiver.folder),
            "bucket": receiver.bucket and receiver.place,
        }
        for key, place in found.items():
            if not place:
                continue
            where = f"export.{receiver.name}.{key}"
            other = places.setdefault(f"{key} {place}", receiver.name)
            if other != receiver.name:
                writes = f"appends to this {key} too" if key == "file" else f"has this {key} too"
                yield f"{where}: export.{other} {writes}; give each receiver its own"
            if key == "folder" and place == normpath(config.audit.folder):
                yield f"{where}: the gateway writes its audit there; name another folder"


def _alerts(config: Config) -> Iterator[str]:
    """Yield each crew of a receiver that does not exist."""
    known = {crew.name for crew in config.crews}
    for receiver in config.alerts:
        for crew in receiver.crews:
            if crew not in known:
                yield f'alert.{receiver.name}.crews: no crew "{crew}"; known: {_known(known)}'


def _page(config: Config) -> Iterator[str]:
    """Yield crews that look like people, certificates of no CA, and rights for no crew."""
    if config.ui is not None:
        yield from reserved_crew_names(config)
    if config.ui is not None and config.ui.asks_certificates and config.ca is None:
        yield (
            "ui.client_certificate: there is no [ca] whose certificates it could accept; add the "
            "table"
        )
    known = {crew.name for crew in config.crews}
    for access in config.ui.access if config.ui else ():
        for crew in access.crews or ():
            if crew not in known:
                yield f'ui.access.{access.name}.crews: no crew "{crew}"; known: {_known(known)}'


def _workers(config: Config) -> Iterator[str]:
    if config.workers and not config.listeners:
        yield "workers: no [[listener]] for them; add one, or write workers = 0 for embedders only"


def _crossings(config: Config) -> Iterator[str]:
    known = {crew.name for crew in config.crews}
    seen: dict[str, int] = {}
    for number, crossing in enumerate(config.crossings):
        where = f"crossing[{number}]"
        for key, crew in (("from", crossing.source), ("to", crossing.target)):
            if crew not in known:
                yield f'{where}.{key} = "{crew}": no such crew; known: {_known(known)}'
        if crossing.source == crossing.target:
            yield f"{where}.to: the same crew as `from`; it calls its own tools with a token"
        first = seen.setdefault(crossing.account, number)
        if first != number:
            yield f"{where}: crossing[{first}] has the same from and to; list all tools in one"
        yield from _too_long(where, crossing)
        yield from _uncovered(where, crossing, config)


def _too_long(where: str, crossing: CrossingConfig) -> Iterator[str]:
    # The name of the account is one claim of a token, and the tools are another.
    if len(crossing.account) > limits.claim_chars_max:
        yield (
            f"{where}.to: the names of both crews have {len(crossing.account) - 1} characters; at "
            f"most {limits.claim_chars_max - 1} are possible"
        )
    length = sum(map(len, crossing.tools))
    if length > limits.crossing_tools_chars_max:
        yield (
            f"{where}.tools: {length} characters in all; at most "
            f"{limits.crossing_tools_chars_max} are possible: use patterns"
        )


def _uncovered(where: str, crossing: CrossingConfig, config: Config) -> Iterator[str]:
    owned = [tool for tool in judged_tools(config) if tool.owner == crossing.target]
    names = [tool.name for tool in owned]
    for pattern in crossing.tools:
        if not any(covers(pattern, tool) for tool in owned):
            yield (
                f'{where}.tools: "{pattern}" covers no tool whose owner is "{crossing.target}"; '
                f"it owns: {', '.join(names) or 'none'}"
            )


def _cluster(config: Config) -> Iterator[str]:
    cluster = config.cluster
    if cluster is None:
        return
    if config.ca is None:
        yield "cluster: there is no [ca] whose certificates its peers could have; add the table"
    ledger = config.ledger
    if cluster.peers and ledger.engine == "sqlite" and not ledger.per_machine:
        yield (
            f"cluster.peers: budgets are in {ledger}, which only this machine uses, so a branch "
            "could spend its credits on each machine; give all machines the same [ledger] url = "
            '"postgresql://…", or write per_machine = true there if you want that'
        )


def _known(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
