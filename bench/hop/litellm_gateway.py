"""LiteLLM as an MCP gateway: one worker, its master key, one tool allowed.

Keys of single callers need a database, so it compares each call's key with one that it has in
memory. It keeps no budget and writes no record here. It speaks only revisions with sessions, and
opens a session of its own at the MCP server for each call.
"""

import json
import secrets
from pathlib import Path

from bench.hop.gateways import Gateway, version_of
from bench.hop.mcp_server import LEGACY, PATH, TOOL
from bench.hop.processes import start
from bench.hop.stage import Stage
from crewgate.demo.ports import reserve

NAME = "LiteLLM"
SHARE = 20
SETTINGS = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}  # no look-up outside
VERSION = "import importlib.metadata as m; print(m.version('litellm'))"


class LiteLLM:
    """The gateway; it names the tool after its entry for the server."""

    name = NAME
    tool = f"bench-{TOOL}"
    revisions = (LEGACY,)
    speaks_http2 = False
    spared = 0.02  # as ContextForge

    def __init__(self, stage: Stage, folder: Path, environment: Path) -> None:
        """`environment`: where it is installed."""
        self.stage, self.folder, self.programs = stage, folder, environment / "bin"
        self.key = f"sk-{secrets.token_urlsafe(24)}"

    def start(self) -> Gateway:
        """One process of uvicorn; JSON is YAML too."""
        port, log = reserve(), self.folder / "litellm.log"
        url = f"http://127.0.0.1:{self.stage.servers.tools}{PATH.decode()}"
        server = {"url": url, "transport": "http", "auth_type": "none", "allowed_tools": [TOOL]}
        config = {
            "mcp_servers": {"bench": server},
            "general_settings": {"master_key": self.key},
            "litellm_settings": {"telemetry": False},
        }
        file = self.folder / "litellm.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")
        where = ["--host", "127.0.0.1", "--port", str(port), "--config", str(file)]
        certificate = ["--ssl_certfile_path", str(self.stage.certificate)]
        key = ["--ssl_keyfile_path", str(self.stage.key)]
        command = [str(self.programs / "litellm"), *where, *certificate, *key]
        version = version_of(str(self.programs / "python"), "-c", VERSION)
        return Gateway(NAME, start(command, 0, log, SETTINGS), port, version, log, share=SHARE)

    def credential(self, gateway: Gateway) -> tuple[str, ...]:
        """The field with its key."""
        del gateway
        return (f"x-litellm-api-key: Bearer {self.key}",)
