"""What the gateways of a run share: certificates, keys, tokens, and the routes to the tool server.

Made by `crewgate init` in a temporary folder, and changed as an operator would change it: one
worker, credits that no run reaches the end of, the tools of tools.py.
"""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.hop.envoy import Demand
from bench.hop.tools import STRANGE, SWALLOW, TOOLS
from crewgate.config import load
from crewgate.core.credits import parse_credits
from crewgate.demo.ports import reserve
from crewgate.errors import ConfigurationError
from crewgate.issuer.branches.local_gateway import minter_of

CREW = "article"
CREDITS = "1000000"  # at a hundredth a call: no run reaches the end of it
OBSERVED, UNOBSERVED = 'mode = "observe"', 'mode = "off"'  # of [loops]: loads repeat one call
CHANGES = {
    "workers = 2": "workers = 1",
    '_per_branch = "1000"': f'_per_branch = "{CREDITS}"',
    OBSERVED: UNOBSERVED,
}
ENDPOINT = """
[mcp.bench]
path = "/mcp"
upstream = "tools"
price = "0.01"
"""
ENDPOINT_TOOLS = "bench.*"  # what a token for it lists
PYTHON_WAY = "\n[limits]\nstraight = false\n"
URL = re.compile(r'^url = "http://127\.0\.0\.1:\d+"', re.MULTILINE)  # not in a comment
UPLOAD_BYTES = 2**30
UPLOAD_BYTES_OTHERWISE = 60 * 2**20  # where a tool's limit cannot be set: below all tools' limit


@dataclass(frozen=True)
class Servers:
    """The ports of the tool server's processes: HTTP/1.1, HTTP/2, and large bodies."""

    tools: int
    h2: int
    bulk: int


@dataclass(frozen=True)
class Stage:
    """A folder made by `init`, where to listen, and what is behind the gateways."""

    folder: Path
    port: int
    servers: Servers
    upload_bytes: int
    h2: bool

    @property
    def file(self) -> Path:
        """The configuration."""
        return self.folder / "crewgate.toml"

    @property
    def audit(self) -> Path:
        """Where records go."""
        return self.folder / "state" / "audit"

    @property
    def upstream(self) -> int:
        """The port of the tool server that most tools are at."""
        return self.servers.h2 if self.h2 else self.servers.tools

    @property
    def certificate(self) -> Path:
        """The chain that every gateway shows."""
        return self.folder / "certs" / "gateway.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.folder / "gateway" / "gateway.key"

    @property
    def demand(self) -> Demand:
        """What the others must ask of a token."""
        config = load(self.file)
        crew = config.crew(CREW)
        return Demand(crew.issuer, config.audience, crew.jwks)


@dataclass(frozen=True)
class Tokens:
    """One that may use all tools, and one that may use none of them. They live 15 minutes."""

    tool: str
    stranger: str


def mint(stage: Stage, tools: list[str], count: int = 1) -> list[str]:
    """So many tokens, each of a branch of its own."""
    _, minter = minter_of(stage.file, CREW)
    quota, now = parse_credits(CREDITS), time.time()
    return [
        minter.root(role="researcher", tools=tools, quota=quota, process="bench", now=now).token
        for _ in range(count)
    ]


def tokens(stage: Stage) -> Tokens:
    """Fresh ones."""
    (tool,) = mint(stage, [tool.name for tool in TOOLS])
    (stranger,) = mint(stage, [STRANGE])
    return Tokens(tool, stranger)


def routes(upload_bytes: int | None) -> str:
    """The tools as they stand in a configuration, a limit for the upload if one is given."""
    parts = []
    for tool in TOOLS:
        limit = upload_bytes if tool is SWALLOW else None
        parts.append(
            f'\n[tool."{tool.name}"]\nmethod = "{tool.method}"\npath = "{tool.path}"\n'
            f'upstream = "{tool.upstream}"\nprice = "0.01"\n'
            + (f"body_bytes_max = {limit}\n" if limit else "")
        )
    return "".join(parts)


def changed(text: str, servers: Servers, *, h2: bool) -> str:
    """The configuration of `init` without the tools of a bench; ends the run if it is another."""
    for old, new in CHANGES.items():
        if old not in text:
            raise SystemExit(f"bench: `crewgate init` no longer writes {old!r}; mend stage.py")
        text = text.replace(old, new)
    port, protocol = (servers.h2, '\nprotocol = "h2"') if h2 else (servers.tools, "")
    text, count = URL.subn(f'url = "http://127.0.0.1:{port}"{protocol}', text)
    if count != 1:
        raise SystemExit("bench: `crewgate init` no longer writes one upstream; mend stage.py")
    return f'{text}\n[upstream.bulk]\nurl = "http://127.0.0.1:{servers.bulk}"\n'


def refusal(file: Path) -> str:
    """Why Crewgate does not take this configuration; empty if it does."""
    try:
        load(file)
    except ConfigurationError as error:
        return str(error)
    return ""


def arrange(folder: Path, servers: Servers, *, h2: bool = False) -> Stage:
    """Write the files. With `h2`, the tool server is spoken to in HTTP/2; see `refusal` then."""
    port = reserve()
    crewgate("init", str(folder), "--port", str(port))
    file = folder / "crewgate.toml"
    text = changed(file.read_text(encoding="utf-8"), servers, h2=h2)
    file.write_text(text + routes(UPLOAD_BYTES), encoding="utf-8")
    upload = UPLOAD_BYTES
    if "body_bytes_max" in refusal(file):
        file.write_text(text + routes(None), encoding="utf-8")
        upload = UPLOAD_BYTES_OTHERWISE
    return Stage(folder, port, servers, upload, h2)


def take_python_way(stage: Stage) -> bool:
    """Have Python handle every call; False if this version cannot handle calls without Python."""
    before = stage.file.read_text(encoding="utf-8")
    stage.file.write_text(before + PYTHON_WAY, encoding="utf-8")
    if "straight" not in refusal(stage.file):
        return True
    stage.file.write_text(before, encoding="utf-8")
    return False


def observe_loops(stage: Stage) -> None:
    """Have the rules on branches that `init` writes."""
    text = stage.file.read_text(encoding="utf-8")
    stage.file.write_text(text.replace(UNOBSERVED, OBSERVED), encoding="utf-8")


def arrange_mcp(folder: Path, servers: Servers) -> Stage:
    """The same with an MCP endpoint, which the crew may use."""
    stage = arrange(folder, servers)
    text = stage.file.read_text(encoding="utf-8")
    text = text.replace('tools = ["', f'tools = ["{ENDPOINT_TOOLS}", "', 1)
    stage.file.write_text(text + ENDPOINT, encoding="utf-8")
    return stage


def crewgate(*arguments: str) -> str:
    """One command; ends the run with its words if it fails."""
    command = [sys.executable, "-m", "crewgate.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(f"bench: crewgate {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
