"""A service manager for one `crewgate serve`: it holds the sockets, and hears what is reported."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from installation import COMMAND, Premises, wait_until

# Puts the inherited descriptors ARGV[1], joined by commas, where sd_listen_fds(3) expects them, and
# becomes the program that follows.
_LAUNCH = """
import fcntl, os, sys
given = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 64) for each in sys.argv[1].split(",")]
for position, descriptor in enumerate(given, 3):
    os.dup2(descriptor, position)
    os.close(descriptor)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Service:
    """The service of one folder, whose ports are open from the start to `close`."""

    def __init__(self, premises: Premises, watchdog_seconds: float) -> None:
        self.premises = premises
        self.log = premises.folder / "serve.log"
        self.messages: list[str] = []
        self._usec = str(int(watchdog_seconds * 1e6))
        self._address = premises.folder / "notify"
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.bind(str(self._address))
        # Of the two listeners and of the control API.
        ports = range(premises.port, premises.port + 3)
        self._sockets = [socket.create_server(("127.0.0.1", port), backlog=512) for port in ports]
        self._hears = threading.Thread(target=self._hear)
        self._hears.start()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start `crewgate serve`, and wait until it reports that it is ready."""
        before = self.messages.count("READY=1")
        descriptors = [sock.fileno() for sock in self._sockets]
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self._address),
            "WATCHDOG_USEC": self._usec,
            "CREWGATE_LOG_FORMAT": "json",
        }
        launch = [sys.executable, "-c", _LAUNCH, ",".join(map(str, descriptors))]
        serve = [*COMMAND, "serve", "-c", str(self.premises.file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*launch, *serve], stderr=log, env=environment, pass_fds=descriptors
            )
        process = self.process
        wait_until(lambda: self.messages.count("READY=1") > before or process.poll() is not None)
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def signal(self, number: signal.Signals) -> None:
        """Send it to `crewgate serve`."""
        assert self.process is not None
        self.process.send_signal(number)

    def since(self, message: str) -> list[str]:
        """The messages after the last one that begins so; none if there was none."""
        found = list(self.messages)
        positions = [index for index, each in enumerate(found) if each.startswith(message)]
        return found[positions[-1] + 1 :] if positions else []

    def close(self) -> None:
        """End what runs, and close all sockets."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", str(self._address))
        self._hears.join()
        for sock in (self._receiver, *self._sockets):
            sock.close()

    def _hear(self) -> None:
        while received := self._receiver.recv(65_536):
            self.messages += received.decode().split("\n")


class NewConnections:
    """Threads that connect, send one request and read its answer, again and again."""

    def __init__(self, port: int, authority: Path, threads: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = port
        self._context = ssl.create_default_context(cafile=authority)
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, count: int) -> None:
        """Wait until that many more calls have ended."""
        wanted = self.outcomes.total() + count
        wait_until(lambda: self.outcomes.total() >= wanted)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                outcome = self._call()
            except OSError as error:
                outcome = f"{type(error).__name__}: {error}"
                time.sleep(0.01)
            with self._lock:
                self.outcomes[outcome] += 1

    def _call(self) -> str:
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=60) as plain,
            self._context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(b"GET /search HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return sock.recv(65_536).split(b"\r\n")[0].decode() or "closed without an answer"
