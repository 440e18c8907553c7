"""A further machine of a trust domain: the first one's configuration, for a folder of its own.

The CA and the upstreams' secrets stay where they are and are named from here; crews' keys are
copied; ports are moved by as much as the agents' listener is, and so is the example's tool server.
It joins the first one, and with it is a pair or more (`joining`).
Every other upstream is called where it was. Comments survive, as the file is changed line by line;
whoever wrote one that cannot be read so is told by `load`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from crewgate import limits
from crewgate.cli.init.cluster_section import DerivedCluster, joining_steps
from crewgate.cli.init.machine_keys import CERTIFICATE, KEY, SERVER, SERVER_KEY, SIGNING_KEY
from crewgate.cli.init.template import ADDRESS, UPSTREAM, UPSTREAM_OFFSET
from crewgate.config import Config, LedgerConfig
from crewgate.config.ledger import is_server
from crewgate.core.credits import format_credits
from crewgate.errors import ConfigurationError

_HEADER = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?")
_TEXT = re.compile(r'(\s*(\w+)\s*=\s*)"([^"]*)"(.*)', re.DOTALL)
_PORT = re.compile(r"(\s*port\s*=\s*)([0-9]+)(.*)", re.DOTALL)
_SAID = re.compile(r"\b([Pp]ort )([0-9]{1,5})\b")
_GAP = re.compile(r"\n{3,}")  # where a section was taken out
_FILE = re.compile(r'(\bfile\s*=\s*)"([^"]*)"')
# Which files a further machine names where they are; section (or its end), keys.
_SHARED = (
    ("ca", {"folder", "root", "crl", "passphrase_file"}),
    (".tls", {"ca", "certificate", "key"}),
)
_OWN = {"certificate": SERVER, "key": SERVER_KEY}
_AS_MEMBER = {"certificate": CERTIFICATE, "key": KEY, "signing_key": SIGNING_KEY}


class DerivedConfig:
    """The text of a configuration whose agents' listener is at `port`, made of `other`'s.

    ConfigurationError if nobody can join `other`. `copies` are crews' files: from where, and to
    where below its folder. `moved` are the places that are others now. `gateways` are the names
    of those that there are besides.
    """

    def __init__(
        self,
        other: Config,
        port: int,
        ledger: str,
        gateways: Sequence[str] = (),
        name: str = "",
    ) -> None:
        self.copies: dict[Path, Path] = {}
        self.moved: dict[str, str] = {}
        listening = [listener.port for listener in other.listeners]
        first = min(listening, default=port)
        self._other = other
        self._tools = first + UPSTREAM_OFFSET
        self._own = {*listening, *range(first, first + 4), self._tools}
        self._own |= {each.port for each in (other.control, other.cluster) if each}
        self._offset = port - first
        self._joining = DerivedCluster(other, self._offset, gateways)
        self._ledger = ledger
        self._section = ""
        self._name = name

    def text(self) -> str:
        """Of crewgate.toml."""
        lines = "".join(self._lines(self._other.path.read_text().splitlines(keepends=True)))
        if self._name and not self._other.name:  # which was made before machines had names
            lines = f'name = "{self._name}"\n{lines}'
        return _GAP.sub("\n\n", lines).rstrip("\n") + f"\n\n{self._ledger}"

    def _lines(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            header = _HEADER.fullmatch(line.rstrip("\n"))
            if header:
                self._section = header[1].strip()
            if header and self._section == "cluster":
                yield from (line, *self._joining.head())
                continue
            kept = self._joining.line(line) if self._section == "cluster" else line
            # [ledger] is written anew, at the end; a comment after it may be the next section's.
            if self._section == "ledger" and line.strip() and not line.lstrip().startswith("#"):
                kept = None
            if kept is not None:
                yield self._line(kept)

    def _line(self, line: str) -> str:
        if line.lstrip().startswith("#"):
            return _SAID.sub(self._moved_port, line)
        if self._section in {"control", "listener", "cluster"}:
            port = _PORT.fullmatch(line)
            if port:
                return f"{port[1]}{self._moved('port ', int(port[2]))}{port[3]}"
        if self._section == f"upstream.{UPSTREAM}" and f'"http://{ADDRESS}:{self._tools}"' in line:
            server = self._moved(f"the tools' server {ADDRESS}:", self._tools)
            line = line.replace(f":{self._tools}", f":{server}")
        if self._section.startswith("upstream."):
            line = _FILE.sub(lambda m: f'{m[1]}"{self._where(m[2])}"', line)
        text = _TEXT.fullmatch(line)
        return f'{text[1]}"{self._value(text[2], text[3])}"{text[4]}' if text else line

    def _moved_port(self, match: re.Match[str]) -> str:
        """In a comment a port is moved if it is one of the gateway's."""
        port = int(match[2])
        return f"{match[1]}{port + self._offset if port in self._own else port}"

    def _moved(self, what: str, port: int) -> int:
        if self._offset:
            self.moved[f"{what}{port}"] = str(port + self._offset)
        return port + self._offset

    def _value(self, key: str, value: str) -> str:
        section = self._section
        for name, keys in _SHARED:
            if key in keys and (section == name or (name[0] == "." and section.endswith(name))):
                return str(self._where(value))
        if section == "cluster":
            return str(_AS_MEMBER.get(key, value))
        if section in {"control", "listener"}:
            return str(_OWN.get(key, value))
        if section.startswith("crew.") and key in {"jwks", "signing_key"}:
            return self._copied(self._where(value))
        if (section, key) == ("", "name"):
            return self._name or value
        if (section, key) in {("", "state"), ("audit", "folder")}:
            return "state" if key == "state" else "state/audit"
        return value

    def _where(self, value: str) -> Path:
        return self._other.path.resolve().parent / value

    def _copied(self, file: Path) -> str:
        """`crews/NAME`, or as far below a folder of that name as it is there."""
        parts = file.parts
        below = parts[parts.index("crews") + 1 :] if "crews" in parts else parts[-2:]
        self.copies[file] = Path("crews", *below)
        return str(self.copies[file])


def ledger_section(first: Config, url: str | None, *, per_machine: bool) -> str:
    """[ledger] of a further machine; ConfigurationError where it would multiply budgets unasked."""
    if per_machine:
        if url:
            raise ConfigurationError("--ledger or --budgets per-machine: one of them")
        lines = ["[ledger]", 'url = "sqlite:state/ledger.db"', "per_machine = true"]
        return "\n".join([*lines, *_away(first.ledger), ""])
    if url is None and first.ledger.engine == "sqlite":
        raise ConfigurationError(
            f"{first.path}: its budgets are in a file, which is one machine's: each branch could "
            "spend its credits on each machine; give --ledger postgresql://… and that one the "
            "same [ledger] url, or say --budgets per-machine"
        )
    if url is not None and url.startswith("sqlite:"):
        raise ConfigurationError(
            f"--ledger {url}: a file is one machine's; machines share a postgresql://… server"
        )
    if url is not None and not is_server(url):
        raise ConfigurationError(
            "--ledger: expected postgresql://USER@HOST/DATABASE, without a password; that goes "
            "into a file, which the configuration names as password_file"
        )
    password = first.ledger.password_file
    lines = ["[ledger]", f"url = {json.dumps(url or first.ledger.url)}"]
    if url is None and password is not None:
        lines.append(f"password_file = {json.dumps(str(password))}")
    if url is None and first.ledger.durability != "single":
        lines.append(f"durability = {json.dumps(first.ledger.durability)}")
    return "\n".join([*lines, *_away(first.ledger), ""])


def _away(ledger: LedgerConfig) -> list[str]:
    """What each machine may spend while its ledger does not answer, whichever that is."""
    if not ledger.lent_max:
        return []
    if ledger.lent_max == limits.quota_micro_max:
        return ['away = "open"']
    return ['away = "bounded"', f'away_credits = "{format_credits(ledger.lent_max)}"']


def changes(first: Config, second: Config, further: DerivedConfig) -> Iterator[str]:
    """What is another in `second`, and what of `first` it reads, a line each."""
    for before, after in further.moved.items():
        yield f"{before} is {after}"
    yield "every other upstream is called where it was; state, certificate and keys are its own"
    yield f"crews' keys are copied; the CA, and upstreams' secrets, are read in {first.path.parent}"
    yield f"budgets are kept in {second.ledger}"


def next_steps(
    other: Path, first: Config, config: Path, second: Config, gateways: Sequence[str] = ()
) -> Iterator[str]:
    """What is to be typed before the new machine serves, a line each."""
    ledger = second.ledger
    if ledger.engine == "postgresql" and first.ledger.url != ledger.url:
        yield f"give {other} the same [ledger] url, and start its gateway again"
    yield from joining_steps(other, first, second, gateways)
    if ledger.engine == "postgresql":
        yield f"crewgate ledger migrate -c {config}      # once, if nobody has made its tables"
    yield f"crewgate check -c {config}"
    yield f"crewgate serve -c {config}"
