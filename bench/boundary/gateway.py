"""A gateway with one worker: connections that it accepts, and how soon a revoked one is closed.

A connection is a handshake and one request, which is refused for want of a token: until the answer
is there nobody knows that the server has done its part. CPU is the worker's, by its own clock.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.hop.processes import cpu_seconds
from bench.sampling import Spread
from crewgate.ca.authority import Authority, new_instance
from crewgate.ca.certificates import new_key
from crewgate.ca.key_files import key_pem
from crewgate.ca.revocation_propagation import announce
from crewgate.config import Config, load
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.demo.ports import reserve

COMMAND = [sys.executable, "-m", "crewgate.cli"]
KEPT = b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
REQUEST = KEPT.replace(b"content", b"connection: close\r\ncontent")
CLIENTS = 2
UNASKED = """
[[listener]]
name = "unasked"
address = "127.0.0.1"
port = {port}
certificate = "certs/gateway.pem"
key = "gateway/gateway.key"
client_certificate = "required"
ocsp = "off"
"""
ROWS = {"no client certificate": 0, "client certificate": 4, "client certificate and OCSP": 1}


@dataclass(frozen=True)
class Accepted:
    """Connections a second, and microseconds of the worker's CPU for one."""

    name: str
    per_second: Spread
    cpu_microseconds: Spread


@dataclass(frozen=True)
class Closed:
    """Milliseconds until the client of a revoked certificate saw its connection end."""

    name: str
    milliseconds: Spread
    most: float


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Config, int]]:
    """A gateway that serves; its configuration, and the process id of its worker."""
    port = reserve()
    file = folder / "gateway" / "crewgate.toml"
    _run("init", str(file.parent), "--port", str(port))
    text = file.read_text().replace("workers = 2", "workers = 1")
    file.write_text(text + UNASKED.format(port=port + 5))
    with (folder / "log").open("wb") as log:
        gateway = subprocess.Popen([*COMMAND, "serve", "-c", str(file)], stdout=log, stderr=log)
    try:
        _run("status", "-c", str(file), "--wait", "30")
        yield load(file), _worker(gateway.pid)
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(30)


def _run(*arguments: str) -> None:
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True)


def _worker(serve: int) -> int:
    children = Path(f"/proc/{serve}/task/{serve}/children").read_text().split()
    for child in children:
        if b"crewgate.gateway" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise SystemExit("bench: the gateway has no worker")


def issue(config: Config, folder: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate of an orchestrator: its serial, and the context of a client that shows it."""
    if config.ca is None:
        raise SystemExit("bench: init wrote no [ca]")
    key = new_key()
    identity = Identity(Role.ORCHESTRATOR, "bench", new_instance(), config.crews[0].name)
    with Authority(config.ca) as authority:
        entry = authority.issue(identity, key.public_key(), datetime.now(UTC))
        chain = authority.chain(entry)
    files = folder / f"{entry.serial}.pem", folder / f"{entry.serial}.key"
    files[0].write_bytes(chain)
    files[1].write_bytes(key_pem(key))
    context = ssl.create_default_context(cafile=str(config.ca.root))
    context.load_cert_chain(*files)
    return entry.serial, context


def _connect(context: ssl.SSLContext, port: int, request: bytes) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 20)
    plain.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)  # or Finished is waited for, 40 ms
    secure = context.wrap_socket(plain, server_hostname="localhost")
    secure.sendall(request)
    if b" 401 " not in secure.recv(65536):
        raise SystemExit("bench: about to measure a connection that is not served")
    return secure


def _accept(context: ssl.SSLContext, port: int, count: int) -> None:
    for _ in range(count):
        _connect(context, port, REQUEST).close()


def accepted(config: Config, worker: int, folder: Path, rounds: int, count: int) -> list[Accepted]:
    """Connections one after the other of a few clients, the listeners in turn."""
    _, shown = issue(config, folder)
    assert config.ca is not None
    plain = ssl.create_default_context(cafile=str(config.ca.root))
    first = config.listeners[0].port
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for turn in range(rounds + 1):
        for name, above in ROWS.items():
            context = shown if above else plain
            begun, before = time.perf_counter(), cpu_seconds([worker])
            with ThreadPoolExecutor(CLIENTS) as pool:
                done = [
                    pool.submit(_accept, context, first + above, count // CLIENTS)
                    for _ in range(CLIENTS)
                ]
            for each in done:
                each.result()
            spent, wall = cpu_seconds([worker]) - before, time.perf_counter() - begun
            if turn:  # the first one warms
                seen[name].append((count / wall, spent / count * 1e6))
    return [
        Accepted(name, Spread.of([a for a, _ in pairs]), Spread.of([b for _, b in pairs]))
        for name, pairs in seen.items()
    ]


def closed(config: Config, folder: Path, times: int) -> list[Closed]:
    """From asking the CA, and from asking the agent alone, to the end that the client sees."""
    whole, agent = [], []
    for _ in range(times):
        serial, context = issue(config, folder)
        with _connect(context, config.listeners[1].port, KEPT) as secure:
            assert config.ca is not None
            begun = time.monotonic()
            with Authority(config.ca) as authority:
                done = authority.revoke([serial], "keyCompromise", datetime.now(UTC))
                with ThreadPoolExecutor(1) as pool:
                    ended = pool.submit(_end, secure)
                    told = time.monotonic()
                    announce(authority.register, config.state, done)
                    last = ended.result()
            whole.append((last - begun) * 1e3)
            agent.append((last - told) * 1e3)
    return [
        Closed("from asking the CA (register and list on the disk)", Spread.of(whole), max(whole)),
        Closed("from asking the agent", Spread.of(agent), max(agent)),
    ]


def _end(secure: ssl.SSLSocket) -> float:
    try:
        while secure.recv(65536):
            pass
    except OSError:
        pass
    return time.monotonic()


def commands(config: Config, folder: Path, times: int) -> Closed:
    """The same with the command that a person types, Python's start included."""
    seen = []
    for _ in range(times):
        serial, context = issue(config, folder)
        with _connect(context, config.listeners[1].port, KEPT) as secure:
            begun = time.monotonic()
            with ThreadPoolExecutor(1) as pool:
                ended = pool.submit(_end, secure)
                done = subprocess.run(
                    [*COMMAND, "ca", "revoke", "-c", str(config.path), "--json", serial],
                    check=True, capture_output=True, env=os.environ,
                )  # fmt: skip
                seen.append((ended.result() - begun) * 1e3)
        if json.loads(done.stdout)["connections_closed"] != 1:
            raise SystemExit("bench: a connection ended that was not revoked")
    return Closed("from typing `crewgate ca revoke`", Spread.of(seen), max(seen))
