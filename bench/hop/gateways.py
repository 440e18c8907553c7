"""How each gateway is started for the same work, on one core, with one worker.

Decides what is compared, and says why one cannot be where it is not installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.hop import envoy
from bench.hop.processes import start
from bench.hop.stage import Stage
from bench.hop.tools import TOOLS
from crewgate.demo.ports import reserve

CREWGATE = "Crewgate"
NGINX = "nginx, bare proxy"
ENVOY = "Envoy, token cache"
STACK = "granian + PyJWT + aiohttp"
ROOT = Path(__file__).parents[2]
CONNECTIONS = 16_384  # of the Python stack, whose own bound would be 1,024
VERSION = re.compile(r"\d+\.\d+\.\d+")

NGINX_TEXT = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
{user}
worker_rlimit_nofile 16384;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
  keepalive_requests 1000000000; keepalive_timeout 1h; client_header_timeout 1h;
  upstream tools {{
    server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000;
  }}
  upstream bulk {{ server 127.0.0.1:{bulk}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    http2 on;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ proxy_pass http://tools; }}
    location = /huge {{ proxy_pass http://bulk; }}
    location = /swallow {{ proxy_pass http://bulk; }}
  }}
}}
"""


@dataclass(frozen=True)
class Gateway:
    """One that was started; `judges` is false where anybody is let through."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    version: str
    log: Path
    judges: bool = True
    share: int = 1  # a slow one gets this part of the requests


@dataclass(frozen=True)
class Kind:
    """One that can be compared: why it cannot be here (or nothing), and how it is started."""

    name: str
    missing: Callable[[Path], str]
    start: Callable[[Stage, Path, Path], Gateway]


def version_of(*command: str) -> str:
    """What a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    found = VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def start_crewgate(stage: Stage, folder: Path, environment: Path) -> Gateway:
    """`crewgate serve` as `init` configures it, one worker; the agent is charged to it as well."""
    del environment
    log = folder / "crewgate.log"
    command = [sys.executable, "-m", "crewgate.cli", "serve", "-c", str(stage.file)]
    version = version_of(sys.executable, "-m", "crewgate.cli", "--version")
    return Gateway(CREWGATE, start(command, 0, log), stage.port, version, log)


def start_nginx(stage: Stage, folder: Path, environment: Path) -> Gateway:
    """TLS, HTTP/2 and connections kept to the tool server; nobody is judged."""
    del environment
    port = reserve()
    home = folder / "nginx"
    home.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX_TEXT.format(
        user=user,
        upstream=stage.servers.tools,
        bulk=stage.servers.bulk,
        port=port,
        certificate=stage.certificate,
        key=stage.key,
    )
    (home / "nginx.conf").write_text(text, encoding="utf-8")
    log = folder / "nginx.log"
    program = shutil.which("nginx") or "nginx"
    version = version_of(program, "-v")
    process = start([program, "-p", str(home), "-c", "nginx.conf", "-e", "stderr"], 0, log)
    return Gateway(NGINX, process, port, version, log, judges=False)


def start_envoy(stage: Stage, folder: Path, environment: Path) -> Gateway:
    """One worker thread; see envoy.py for the filters."""
    port = reserve()
    config = folder / "envoy.json"
    text = envoy.configuration(
        port,
        stage.demand,
        stage.certificate,
        stage.key,
        tools=stage.upstream,
        bulk=stage.servers.bulk,
        h2=stage.h2,
    )
    config.write_text(text, encoding="utf-8")
    log = folder / "envoy.log"
    program = str(environment / "bin" / "envoy")
    options = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    version = version_of(program, "--version")
    process = start([program, "-c", str(config), *options], 0, log)
    return Gateway(ENVOY, process, port, version, log)


def start_stack(stage: Stage, folder: Path, environment: Path) -> Gateway:
    """One worker of granian under uvloop; see stack.py."""
    port = reserve()
    log = folder / "stack.log"
    demand = stage.demand
    settings = {
        "STACK_ISSUER": demand.issuer,
        "STACK_AUDIENCE": demand.audience,
        "STACK_JWKS": str(demand.jwks),
        "STACK_TOOLS": json.dumps({tool.path: tool.name for tool in TOOLS if not tool.bulk}),
        "STACK_UPSTREAM": f"http://127.0.0.1:{stage.servers.tools}",
        "PYTHONPATH": str(ROOT),
    }
    program = str(environment / "bin" / "granian")
    options = ["--interface", "asgi", "--workers", "1", "--loop", "uvloop", "--log-level", "error"]
    options += ["--backpressure", str(CONNECTIONS)]
    tls = ["--ssl-certificate", str(stage.certificate), "--ssl-keyfile", str(stage.key)]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command = [program, *options, *tls, *where, "bench.hop.stack:app"]
    version = version_of(program, "--version")
    return Gateway(STACK, start(command, 0, log, settings), port, version, log, share=4)


def never(environment: Path) -> str:
    """Crewgate is always here."""
    del environment
    return ""


def missing_nginx(environment: Path) -> str:
    """A Debian package."""
    del environment
    return "" if shutil.which("nginx") else "nginx is not here (Debian: nginx-light)"


def missing_from_pypi(program: str) -> Callable[[Path], str]:
    """A program of the peers' own environment."""

    def missing(environment: Path) -> str:
        there = (environment / "bin" / program).exists()
        return "" if there else f"{program} could not be installed from PyPI"

    return missing


KINDS = (
    Kind(CREWGATE, never, start_crewgate),
    Kind(NGINX, missing_nginx, start_nginx),
    Kind(ENVOY, missing_from_pypi("envoy"), start_envoy),
    Kind(STACK, missing_from_pypi("granian"), start_stack),
)
