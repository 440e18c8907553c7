"""What all gateways of a run share: certificates, keys, one token, one tool, the tool server.

Made by `crewgate init` and `crewgate mint`, in a temporary folder; one tool is added that a load
without bodies can call.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.hop.envoy import Demand
from bench.hop.processes import end, free_ports, start, wait_for_port
from crewgate.config import load

CREW = "article"
TOOL = "search.page"
PATH = "/page"
CREDITS = "1000000"  # at a hundredth a call: no run reaches the end of it
ROUTE = f"""
[tool."{TOOL}"]
method = "GET"
path = "{PATH}"
upstream = "tools"
price = "0.01"
"""
CHANGES = {"workers = 2": "workers = 1", '_per_branch = "1000"': f'_per_branch = "{CREDITS}"'}


@dataclass(frozen=True)
class Stage:
    """A folder made by `init`, where to listen, and the token that every request carries."""

    folder: Path
    port: int
    upstream: int
    token: str

    @property
    def file(self) -> Path:
        """The configuration."""
        return self.folder / "crewgate.toml"

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
        return Demand(crew.issuer, config.audience, crew.jwks, TOOL, PATH)


def crewgate(*arguments: str) -> str:
    """One command; ends the run with its words if it fails."""
    command = [sys.executable, "-m", "crewgate.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise SystemExit(f"bench: crewgate {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """The files, and the tool server as a process of its own on the last core."""
    port, upstream = free_ports()
    home = folder / "crewgate"
    crewgate("init", str(home), "--port", str(port))
    file = home / "crewgate.toml"
    text = file.read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        if old not in text:
            raise SystemExit(f"bench: `crewgate init` no longer writes {old!r}; mend stage.py")
        text = text.replace(old, new)
    file.write_text(text + ROUTE, encoding="utf-8")
    grant = ["--crew", CREW, "--role", "researcher", "--tools", TOOL, "--credits", CREDITS]
    minted = json.loads(crewgate("mint", "-c", str(file), *grant, "--json"))
    log = folder / "upstream.log"
    server = start([sys.executable, "-m", "bench.hop.upstream", str(upstream)], -1, log)
    try:
        wait_for_port(server, upstream, log)
        yield Stage(home, port, upstream, minted["token"])
    finally:
        end(server)
