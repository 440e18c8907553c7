"""A further machine of a trust domain: the first one's configuration, for a folder of its own.

The CA and the upstreams' secrets stay where they are and are named from here; crews' keys are
copied; ports are moved by as much as the agents' listener is. Comments survive, as the file is
changed line by line; whoever wrote one that cannot be read so is told by `load`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from crewgate.config import Config
from crewgate.config.ledger import is_server
from crewgate.errors import ConfigurationError

_HEADER = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?")
_TEXT = re.compile(r'(\s*(\w+)\s*=\s*)"([^"]*)"(.*)', re.DOTALL)
_PORT = re.compile(r"(\s*port\s*=\s*)([0-9]+)(.*)", re.DOTALL)
_LOOPBACK = re.compile(r"(//(?:127\.0\.0\.1|localhost|\[::1\]):)([0-9]+)")
_SAID = re.compile(r"\b([Pp]ort )([0-9]{1,5})\b")
_FILE = re.compile(r'(\bfile\s*=\s*)"([^"]*)"')
# Which files a further machine names where they are; section (or its end), keys.
_SHARED = (
    ("ca", {"folder", "root", "crl", "passphrase_file"}),
    (".tls", {"ca", "certificate", "key"}),
)
_OWN = {"certificate": "certs/gateway.pem", "key": "gateway/gateway.key"}


class Further:
    """The text of a configuration for `folder`, `offset` ports above `other`'s.

    `copies` are crews' files: from where, and to where below `folder`.
    """

    def __init__(self, other: Config, folder: Path, offset: int, ledger: str) -> None:
        self.copies: dict[Path, Path] = {}
        self._other = other
        self._folder = folder
        self._offset = offset
        self._ledger = ledger
        self._section = ""

    def text(self) -> str:
        """Of crewgate.toml."""
        lines = "".join(self._lines(self._other.path.read_text().splitlines(keepends=True)))
        return lines.rstrip("\n") + f"\n\n{self._ledger}"

    def _lines(self, lines: list[str]) -> Iterator[str]:
        for line in lines:
            header = _HEADER.fullmatch(line.rstrip("\n"))
            if header:
                self._section = header[1].strip()
            # [ledger] is written anew, at the end; a comment after it may be the next section's.
            if self._section != "ledger" or not line.strip() or line.lstrip().startswith("#"):
                yield self._line(line)

    def _line(self, line: str) -> str:
        if line.lstrip().startswith("#"):
            return _SAID.sub(lambda m: f"{m[1]}{int(m[2]) + self._offset}", line)
        if self._section in {"control", "listener"}:
            port = _PORT.fullmatch(line)
            if port:
                return f"{port[1]}{int(port[2]) + self._offset}{port[3]}"
        if self._section.startswith("upstream."):
            line = _LOOPBACK.sub(lambda m: f"{m[1]}{int(m[2]) + self._offset}", line)
            line = _FILE.sub(lambda m: f'{m[1]}"{self._where(m[2])}"', line)
        text = _TEXT.fullmatch(line)
        return f'{text[1]}"{self._value(text[2], text[3])}"{text[4]}' if text else line

    def _value(self, key: str, value: str) -> str:
        section = self._section
        for name, keys in _SHARED:
            if key in keys and (section == name or (name[0] == "." and section.endswith(name))):
                return str(self._where(value))
        if section in {"control", "listener"}:
            return _OWN.get(key, value)
        if section.startswith("crew.") and key in {"jwks", "signing_key"}:
            return self._copied(self._where(value))
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
        return '[ledger]\nurl = "sqlite:state/ledger.db"\nper_machine = true\n'
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
    return "\n".join([*lines, ""])
