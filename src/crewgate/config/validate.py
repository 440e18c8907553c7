"""What must hold between the sections of one configuration, once each by itself is sound.

Returns problems as lines that name the key to mend. Opens no file.
"""

from collections.abc import Callable, Iterator

from crewgate.config.cluster_section import check_cluster
from crewgate.config.crossings import check_crossings
from crewgate.config.model import Config
from crewgate.config.routes import mistakes
from crewgate.core.policy.policy import SHARED

_OURS = "x-crewgate-"
_SECRET = frozenset({"authorization", "cookie"})
# They frame a message or end at the next hop (RFC 9110, sections 7.2 and 7.6.1; RFC 9112).
_FRAMING = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding",
     "upgrade"}
)  # fmt: skip


def validate(config: Config) -> list[str]:
    """Every problem between sections, in the order of the checks."""
    checks: tuple[Callable[[Config], Iterator[str]], ...] = (
        _listeners,
        _certificates,
        _crews,
        _tools,
        mistakes,
        _credentials,
        _workers,
        check_crossings,
        check_cluster,
    )
    return [problem for check in checks for problem in check(config)]


def _listeners(config: Config) -> Iterator[str]:
    names: set[str] = set()
    places: dict[tuple[str, int], str] = {}
    if config.control is not None:
        places[(config.control.address, config.control.port)] = "[control]"
        if config.ca is None:
            yield "control: there is no [ca] whose certificates it could accept; add the section"
    if config.cluster is not None:
        places.setdefault((config.cluster.address, config.cluster.port), "[cluster]")
    for listener in config.listeners:
        if listener.name in names:
            yield f'listener "{listener.name}": the name stands there twice; rename one'
        names.add(listener.name)
        other = places.setdefault((listener.address, listener.port), listener.name)
        if other != listener.name:
            yield (
                f'listener "{listener.name}": {listener.address} port {listener.port} is also '
                f'that of "{other}"; give one another port'
            )


def _certificates(config: Config) -> Iterator[str]:
    asked = config.ca and config.ca.control
    if asked and asked.certificate is None and config.cluster is None:
        yield (
            "ca.control: without [cluster] this machine has no certificate to show there; add "
            "control_certificate and control_key, a gateway's of this CA"
        )
    for listener in config.listeners:
        if listener.client_certificate != "none" and config.ca is None:
            yield (
                f'listener "{listener.name}".client_certificate: there is no [ca] whose '
                "certificates it could accept; add the section"
            )
        if listener.ocsp != "off" and (config.ca is None or config.ca.ocsp is None):
            yield f'listener "{listener.name}".ocsp: nobody is asked; say whom in [ca] ocsp'
        elif listener.ocsp != "off" and listener.client_certificate == "none":
            yield (
                f'listener "{listener.name}".ocsp: nobody shows a certificate here; add '
                'client_certificate = "required"'
            )
        known = {crew.name for crew in config.crews}
        for crew in listener.crews or ():
            if crew not in known:
                yield (
                    f'listener "{listener.name}".crews: "{crew}" is no crew; known: {_known(known)}'
                )


def _crews(config: Config) -> Iterator[str]:
    files: dict[object, str] = {}
    for crew in config.crews:
        if crew.name == SHARED:
            yield f'crew.{SHARED}: "{SHARED}" means every crew; choose another name'
        other = files.setdefault(crew.jwks, crew.name)
        if other != crew.name:
            yield f"crew.{crew.name}.jwks: also the file of crew.{other}; a key speaks for one crew"


def _tools(config: Config) -> Iterator[str]:
    upstreams = {upstream.name for upstream in config.upstreams}
    owners = {crew.name for crew in config.crews} | {SHARED}
    carriers: dict[str, str] = {}  # and whose they are
    for tool in config.tools:
        for name in tool.carriers:
            carriers.setdefault(name, tool.name)
    for tool in config.tools:
        if tool.upstream not in upstreams:
            yield (
                f'tool."{tool.name}".upstream = "{tool.upstream}": no such upstream; '
                f"known: {_known(upstreams)}"
            )
        if tool.owner not in owners:
            yield (
                f'tool."{tool.name}".owner = "{tool.owner}": no such crew; known: {_known(owners)}'
            )
        if not tool.carriers:
            yield f'tool."{tool.name}".carriers: empty; without a carrier no call can be judged'
        for field in tool.allow_fields:
            where = f'tool."{tool.name}".allow_fields: "{field}"'
            if field.replace("_", "-").startswith(_OURS) or field in _SECRET:
                yield f"{where} is never passed on; take it out"
            elif field in carriers:
                yield (
                    f'{where} is never passed on: tool."{carriers[field]}".carriers names it, so '
                    "clients put their tokens there; take it out of one of them"
                )


def _credentials(config: Config) -> Iterator[str]:
    for upstream in config.upstreams:
        if upstream.credential is None:
            continue
        header = upstream.credential.header
        where = f'upstream.{upstream.name}.credential.header = "{header}"'
        if header.replace("_", "-").startswith(_OURS):
            yield f"{where}: these fields tell the tool who called; choose another"
        if header in _FRAMING:
            yield f"{where}: this field frames the message and holds no credential"


def _workers(config: Config) -> Iterator[str]:
    if config.workers and not config.listeners:
        yield "workers: no [[listener]] for them; add one, or write workers = 0 for embedders only"


def _known(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
