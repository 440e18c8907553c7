"""Derives the configuration of a further machine of a trust domain from that of the first one.

The new file names the CA and the secrets of upstreams where they are, and copies of the keys of
crews. Every port, and that of the example's tool server, is moved by the same offset. The machine
joins the first one (`cluster_section`). Other upstreams stay where they are. The other keys, the
order and the comments of the file stay too.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from crewgate import limits
from crewgate.cli.init.cluster_section import PAIR, cluster_head, cluster_of, joining_steps
from crewgate.cli.init.machine_keys import (
    CERTIFICATE,
    HOSTS,
    KEY,
    SERVER,
    SERVER_KEY,
    SIGNING_KEY,
)
from crewgate.cli.init.template import ADDRESS, EVERY_ADDRESS, UPSTREAM, UPSTREAM_OFFSET
from crewgate.config import Config, HostPort, LedgerConfig
from crewgate.config.reference import summary
from crewgate.core.credits import format_credits
from crewgate.errors import ConfigurationError

_COMMENT = re.compile(r"^[ \t]*#.*\n", re.MULTILINE)
_PORT = re.compile(r"\b([Pp]ort )([0-9]{1,5})\b")
ROOT, ISSUING, CRL = (Path("certs", each) for each in ("ca.pem", "issuing.pem", "crl.pem"))
# Stands for each key of a table.
_EVERY = "*"
_QUORUM = "staleness_quorum"


class ConfigFromOther:
    """A configuration that is derived from `other`, with the agents' listener at `port`.

    `ledger` has the keys of the new [ledger]. `gateways` names the other gateways of the CA. If the
    machine gets a host of its own, `host` is its name or address there, and its configuration names
    no file of the folder of `other`. After `text()`, `copies` maps files to their paths below the
    new folder, and `moved` maps old ports to new ones. Raises ConfigurationError if no machine can
    join `other`.
    """

    def __init__(
        self,
        other: Config,
        port: int,
        ledger: dict[str, Any],
        gateways: Sequence[str] = (),
        name: str = "",
        host: str = "",
    ) -> None:
        self.copies: dict[Path, Path] = {}
        self.moved: dict[str, str] = {}
        listening = [listener.port for listener in other.listeners]
        first = min(listening, default=port)
        self._other = other
        self._tools = first + UPSTREAM_OFFSET
        self._offset = port - first
        own = {*listening, *range(first, first + 5), self._tools}
        own |= {
            each.port
            for each in (other.control, other.cluster, other.admin)
            if each is not None and each.port is not None
        }
        self._ports = {str(each): str(each + self._offset) for each in own}
        here = cluster_of(other).reached_at
        own_place = HostPort(host or here.host, here.port + self._offset)
        self._cluster = cluster_head(other, own_place, gateways)
        self._ledger = ledger
        self._name = name
        self.host = host
        if host:
            self._cluster.add("advertise", str(own_place))
            password = other.ledger.password_file
            if password and ledger.get("password_file") == str(password):
                self._ledger = ledger | {"password_file": self._where(str(password))}

    def text(self) -> str:
        """Write the new file as text.

        Raises:
            ConfigurationError: `tomlkit` cannot read the file of `other`.
        """
        path = self._other.path
        text = _COMMENT.sub(self._comment, path.read_text().rstrip() + "\n")
        # Files that were made before machines had names have no `name`.
        if self._name and not self._other.name:
            text = f'name = "{self._name}"\n{text}'
        try:
            document = tomlkit.parse(text)
        except TOMLKitError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        _change(document, self._changes())
        tools = document.get("upstream", {}).get(UPSTREAM, {})
        if tools.get("url") == f"http://{ADDRESS}:{self._tools}":
            port = self._moved(f"the tools' server {ADDRESS}:", self._tools)
            tools["url"] = f"http://{ADDRESS}:{port}"
        if self.host:
            _rewrite(document, "ca", {"control": control_url(self._other)}, {"passphrase_file"})
        _rewrite(document, "cluster", self._cluster, {_QUORUM})
        _rewrite(document, "ledger", self._ledger, set(document.get("ledger", ())) - {"url"})
        return tomlkit.dumps(document)

    def _comment(self, match: re.Match[str]) -> str:
        """Drop a line of comments about another quorum; in others, move the gateway's ports."""
        text = match[0].strip(" \t\n#")
        about = (_QUORUM, summary("cluster", _QUORUM))
        if text in PAIR or (_QUORUM in self._cluster and text.startswith(about)):
            return ""
        return _PORT.sub(lambda found: found[1] + self._ports.get(found[2], found[2]), match[0])

    def _changes(self) -> dict[str, Any]:
        """List the keys that change: each with its new value, or a function of the old value."""
        port = partial(self._moved, "port ")
        served: dict[str, Any] = {"port": port, "certificate": str(SERVER), "key": str(SERVER_KEY)}
        member = {"certificate": str(CERTIFICATE), "key": str(KEY), "signing_key": str(SIGNING_KEY)}
        client = {
            "tls": dict.fromkeys(("ca", "certificate", "key"), self._where),
            "credential": {"file": self._where},
        }
        ca: dict[str, Any] = dict.fromkeys(
            ("folder", "root", "crl", "passphrase_file"), self._where
        )
        if self.host:
            served["address"] = member["address"] = EVERY_ADDRESS
            ca = self._ca_files()
        return {
            "name": self._name or self._other.name,
            "state": "state",
            "sealing_keys": self._where,
            "audit": {"folder": "state/audit"},
            "ca": ca,
            "control": served,
            "cluster": {"port": port, "advertise": self._advertised, **member},
            "admin": {"port": port, "socket": "state/admin.sock"},
            "listener": served,
            "crew": {_EVERY: dict.fromkeys(("jwks", "signing_key"), self._copied)},
            "identity_provider": {_EVERY: dict.fromkeys(("jwks", "ca"), self._where)},
            "upstream": {_EVERY: client},
            "export": {_EVERY: client},
            "ui": self._page_changes(served),
            "alert": {_EVERY: {"secret": self._where, "tls": client["tls"]}},
        }

    def _page_changes(self, served: Mapping[str, Any]) -> dict[str, Any]:
        """List the keys of [ui] that change; another address could need TLS."""
        return {
            **{key: value for key, value in served.items() if key != "address"},
            "url": self._moved_url,
            "login": dict.fromkeys(("client_secret", "ca"), self._where),
        }

    def _moved_url(self, url: str) -> str:
        """Return the URL of the page with the port that it gets, if it names the port of [ui]."""
        place, _, port = url.rpartition(":")
        is_own = self._other.ui is not None and port == str(self._other.ui.port)
        return f"{place}:{int(port) + self._offset}" if is_own else url

    def _moved(self, what: str, port: int) -> int:
        if self._offset:
            self.moved[f"{what}{port}"] = str(port + self._offset)
        return port + self._offset

    def _advertised(self, value: str) -> str:
        host, _, port = value.rpartition(":")
        return f"{host}:{int(port) + self._offset}"

    def _ca_files(self) -> dict[str, str]:
        """Note the public files of the CA for copying; return the keys that name them."""
        ca = self._other.ca
        if ca is not None:
            self.copies[ca.root.with_name(ISSUING.name)] = ISSUING
            self.copies[ca.crl] = CRL
        return {"folder": "ca", "root": str(ROOT), "crl": str(CRL)}

    def _where(self, value: str) -> str:
        """Return the path of a file of `other`, or of a copy that is noted for another host."""
        folder = self._other.path.resolve().parent
        file = folder / value
        if self.host and file.is_relative_to(folder):
            self.copies[file] = file.relative_to(folder)
            return str(self.copies[file])
        return str(file)

    def _copied(self, value: str) -> str:
        """Note a file for copying, to the same path below `crews`, or else to `crews/NAME`."""
        file = self._other.path.resolve().parent / value
        parts = file.parts
        below = parts[parts.index("crews") + 1 :] if "crews" in parts else parts[-2:]
        self.copies[file] = Path("crews", *below)
        return str(self.copies[file])


def control_url(first: Config) -> str:
    """Return where a machine on another host reaches the control API of `first`.

    Raises ConfigurationError if it cannot reach `first`, or if `first` has no control API.
    """
    host = cluster_of(first).reached_at.host
    if first.control is None:
        raise ConfigurationError(
            f"{first.path}: there is no [control], where the new machine renews its certificates; "
            "add one"
        )
    if host in HOSTS:
        raise ConfigurationError(
            f"{first.path}: other hosts cannot reach this machine at {host}; give its [cluster], "
            "[control] and listeners an address that they reach, or make it anew with "
            "`crewgate init --host`"
        )
    return f"https://{HostPort(host, first.control.port)}"


def _change(table: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Change the keys that are there to the given value, or to the function's result."""
    for key in list(table) if _EVERY in changes else changes:
        change = changes.get(_EVERY, changes.get(key))
        if isinstance(change, dict):
            found = table.get(key, [])
            for each in found if isinstance(found, list) else [found]:
                _change(each, change)
        elif key in table:
            table[key] = change(table[key]) if callable(change) else change


def _rewrite(
    document: tomlkit.TOMLDocument, name: str, new: MutableMapping[str, Any], dropped: set[str]
) -> None:
    """Remove the keys `dropped` from a section, and move the values of `new` into it.

    Keys that the section did not have come first: the comments at its end may belong to the next
    section.
    """
    section = document.get(name, {})
    if isinstance(section, Table) and not section.is_super_table():
        for key in dropped & set(section):
            del section[key]
        for key in set(new) & set(section):
            section[key] = new.pop(key)
        section.trivia.trail += tomlkit.dumps(new)
    else:  # it has no header, or is not there
        kept = {key: value for key, value in section.items() if key not in dropped}
        document.pop(name, None)
        document[name] = {**kept, **new}


def ledger_section(
    first: Config, url: str | None, *, per_machine: bool, password_file: str = ""
) -> dict[str, Any]:
    """Return [ledger] of a further machine.

    Raises:
        ConfigurationError: The options contradict each other, or the machine would multiply budgets
            although nobody asked for that.
    """
    if per_machine:
        if url:
            raise ConfigurationError("expected --ledger or --budgets per-machine, and not both")
        own = {"url": "sqlite:state/ledger.db", "per_machine": True}
        return own | _on_unavailable(first.ledger)
    if url is None and first.ledger.engine == "sqlite":
        raise ConfigurationError(
            f"{first.path}: its budgets are in a file, which only one machine uses, so each branch "
            "could spend its credits on each machine; pass --ledger postgresql://… and give the "
            "first machine the same [ledger] url, or pass --budgets per-machine"
        )
    shared: dict[str, Any] = {"url": url or first.ledger.url}
    if password_file:
        shared["password_file"] = password_file
    elif url is None and first.ledger.password_file is not None:
        shared["password_file"] = str(first.ledger.password_file)
    if url is None and first.ledger.durability != "single":
        shared["durability"] = first.ledger.durability
    return shared | _on_unavailable(first.ledger)


def _on_unavailable(ledger: LedgerConfig) -> dict[str, Any]:
    """Return the keys for what a machine may spend while its ledger does not answer."""
    overdraft = ledger.overdraft_micro_max
    if not overdraft:
        return {}
    if overdraft == limits.quota_micro_max:
        return {"on_unavailable": "open"}
    return {"on_unavailable": "bounded", "overdraft_credits": format_credits(overdraft)}


def changes(first: Config, second: Config, further: ConfigFromOther) -> Iterator[str]:
    """Yield a line for each difference of `second`, and for what it shares with `first`."""
    folder = first.path.parent
    for before, after in further.moved.items():
        yield f"{before} is {after}"
    yield "every other upstream stays where it is; state, certificate and keys are its own"
    if further.host:
        yield f"crews' keys and upstreams' secrets are copied; the CA's keys stay in {folder}"
    else:
        yield f"crews' keys are copied; the CA and upstreams' secrets are read in {folder}"
    yield f"budgets are in {second.ledger}"


def next_steps(
    other: Path, first: Config, config: Path, second: Config, gateways: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the steps and commands before the new machine serves, a line each."""
    is_shared = second.ledger.engine == "postgresql"
    is_other = is_shared and first.ledger.url != second.ledger.url
    if is_other:
        yield f"end the gateway of {other}, and give it the same [ledger] url"
    yield from joining_steps(other, first, second, gateways)
    if is_shared:
        yield f"crewgate ledger migrate -c {config}      # once, if it has no tables yet"
    if is_other:
        yield (
            f"crewgate ledger accept -c {other}      # if it has served before: what was spent in "
            f"{first.ledger} can be spent again"
        )
        yield f"start the gateway of {other} again"
    yield f"crewgate check -c {config}"
    yield f"crewgate serve -c {config}"
