"""ContextForge as an MCP gateway: one worker, a token that it verifies, a database of its own.

Its defaults, except: the rate limit is off, since a load would reach it; the MCP server may be on
this machine; and it caches in its memory, because there is no Redis. Its tokens are signed with a
shared secret. It looks for the token among the revoked ones and for the rights of its user.
"""

import json
import os
import secrets
import subprocess
from pathlib import Path

from bench.hop import mcp_messages
from bench.hop.gateways import Gateway, version_of
from bench.hop.load import bearer
from bench.hop.mcp_server import LEGACY, MODERN, PATH, TOOL
from bench.hop.processes import start
from bench.hop.stage import Stage
from crewgate.demo.ports import reserve

NAME = "ContextForge"
USER = "admin@example.com"
SHARE = 20
PASSWORDS = ("PLATFORM_ADMIN_PASSWORD", "BASIC_AUTH_PASSWORD", "DEFAULT_USER_PASSWORD")
TOKEN_MINUTES = "60"
TOKEN_SECONDS = 120  # until it has made a token: it loads all of itself for that
CREATED = (200, 201)


def settings(folder: Path) -> dict[str, str]:
    """Its environment variables; the secrets are new in each run."""
    password = secrets.token_urlsafe(24) + "-aA1!"  # it wants a character of each kind
    return {
        "DATABASE_URL": f"sqlite:///{folder / 'contextforge.db'}",
        "CACHE_TYPE": "memory",
        "RATE_LIMITING_ENABLED": "false",
        "SSRF_ALLOW_LOCALHOST": "true",
        "PLATFORM_ADMIN_EMAIL": USER,
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "AUTH_ENCRYPTION_SECRET": secrets.token_urlsafe(48),
        **dict.fromkeys(PASSWORDS, password),
    }


class ContextForge:
    """The gateway; it names the tool after the server that it was told of."""

    name = NAME
    tool = f"bench-{TOOL}"
    revisions = (MODERN, LEGACY)
    speaks_http2 = False
    spared = 0.02  # now and then it answers with an error when many calls come at once

    def __init__(self, stage: Stage, folder: Path, environment: Path) -> None:
        """`environment`: where it is installed."""
        self.stage, self.folder, self.programs = stage, folder, environment / "bin"
        self.settings = settings(folder)

    def start(self) -> Gateway:
        """One process of uvicorn."""
        port, log = reserve(), self.folder / "contextforge.log"
        where = ["--host", "127.0.0.1", "--port", str(port)]
        pair = ["--ssl-certfile", str(self.stage.certificate), "--ssl-keyfile", str(self.stage.key)]
        quiet = ["--log-level", "error", "--no-access-log"]
        program = str(self.programs / "mcpgateway")
        process = start([program, *where, *pair, *quiet], 0, log, self.settings)
        return Gateway(NAME, process, port, version_of(program, "--version"), log, share=SHARE)

    def credential(self, gateway: Gateway) -> tuple[str, ...]:
        """The field with a token of its user. Tells it of the MCP server."""
        module = ["-m", "mcpgateway.utils.create_jwt_token"]
        options = ["--username", USER, "--exp", TOKEN_MINUTES, "--admin"]
        command = [str(self.programs / "python"), *module, *options]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=TOKEN_SECONDS,
            env={**os.environ, **self.settings},
        )
        token = done.stdout.strip().rpartition("\n")[2]
        url = f"http://127.0.0.1:{self.stage.servers.tools}{PATH.decode()}"
        body = {"name": "bench", "url": url, "transport": "STREAMABLEHTTP"}
        given = (*bearer(token), "content-type: application/json")
        answer = mcp_messages.post(gateway.port, "/gateways", given, json.dumps(body).encode())
        if answer.status not in CREATED:
            raise SystemExit(f"bench: {NAME} does not take the MCP server: {answer.body[:300]!r}")
        return bearer(token)
