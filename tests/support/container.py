"""A gateway in a container of bubblewrap, as deploy/container runs it, on loopback alone.

The container has a read-only root file system, a user without capabilities, and `crewgate` as its
first process. Only the folder of the gateway is writable. The root file system is the one of this
machine with the interpreter of the tests, or one that `build-rootfs` has made.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from network_namespaces import Place

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "deploy" / "container" / "Containerfile"
_SECONDS = 100.0
# The folder of the gateway in the container: every Debian system has it.
PLACE = "/mnt"

_NAMESPACES = ("--user", "--net", "--mount", "--pid", "--ipc", "--uts")


class Container:
    """A container whose gateway has its folder at `folder` outside, and at `PLACE` inside.

    `python` is an interpreter inside `root` that has Crewgate. `user` is the user's id outside and
    inside; None means this process's user outside. `network` is the network of the container; None
    means loopback alone. `mounts` maps files and folders to their paths inside.
    """

    def __init__(
        self,
        folder: Path,
        *,
        root: Path = Path("/"),
        python: str = sys.executable,
        user: int | None = None,
        network: Place | None = None,
        mounts: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.config = f"{PLACE}/crewgate.toml"
        self.ca = folder / "certs" / "ca.pem"
        self._python = python
        self._crewgate = [python, "-P", "-m", "crewgate.cli"]
        self._user = [] if user is None else _as(user)
        uid = str(65532 if user is None else user)
        self._bubblewrap = [
            *(network.within if network else ()),
            "bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL",
            "--uid", uid, "--gid", uid, "--ro-bind", str(root), "/", "--proc", "/proc",
            "--dev", "/dev", "--remount-ro", "/dev", "--bind", str(folder), PLACE,
            *(["--share-net"] if network else []),
            *(word for file, path in mounts.items() for word in ("--ro-bind", str(file), path)),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._tools: subprocess.Popen[bytes] | None = None
        self._first = 0  # process id of the first process of the container, outside

    def run(self, *arguments: str) -> str:
        """Run one `crewgate` command in a container of its own; return what it printed."""
        return self.run_program(*self._crewgate, *arguments)

    def run_program(self, *command: str) -> str:
        """Run a program in a container of its own; return what it printed."""
        return _output([*self._user, *self._bubblewrap, "--", *command])

    def start(self) -> None:
        """Start `crewgate serve` and the tool server of `init`; wait until both are ready."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start `crewgate serve` and the tool server of `init`."""
        read, write = os.pipe()
        path = self.folder.parent / "serve.log"
        with os.fdopen(read, "rb") as information, path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._user, *self._bubblewrap, "--info-fd", str(write), "--", *self._crewgate,
                 "serve", "-c", self.config],
                pass_fds=[write], stdout=log, stderr=log,
            )  # fmt: skip
            os.close(write)
            self._first = json.load(information)["child-pid"]
        # From now on, its namespaces are complete.
        command = Path(f"/proc/{self._first}/cmdline")
        _wait(lambda: b"bwrap" not in command.read_bytes(), "bwrap does not start crewgate")
        tools = [sys.executable, "-P", "-m", "crewgate.demo.tools", "--port", "8453"]
        self._tools = subprocess.Popen([*self._network(), *tools])

    def wait(self) -> None:
        """Wait until `crewgate serve` and the tool server are ready."""
        self.inside("status", "-c", self.config, "--wait", str(_SECONDS))
        health = ["curl", "--silent", "--retry", "99", "--retry-connrefused", "--retry-delay", "1"]
        _output([*self._network(), *health, "http://127.0.0.1:8453/health"])

    def stop(self) -> int:
        """Send SIGTERM to the first process; return its exit status."""
        assert self._process is not None
        os.kill(self._first, signal.SIGTERM)
        status = self._process.wait(_SECONDS)
        self.close()
        return status

    def close(self) -> None:
        """Kill the container and the tool server, if they run."""
        for process in (self._process, self._tools):
            if process is not None:
                process.kill()
                process.wait()
        self._process = self._tools = None

    def inside(self, *arguments: str) -> str:
        """Run one `crewgate` command in the running container; return what it printed."""
        return _output([*self._enter(*_NAMESPACES), *self._crewgate, *arguments])

    def probe(self) -> int:
        """Run the HEALTHCHECK of the Containerfile in the container; return its exit status."""
        (found,) = re.findall(r'CMD \["/opt/crewgate/bin/python", (.*)\]\n', RECIPE.read_text())
        command = [*self._enter(*_NAMESPACES), self._python, *json.loads(f"[{found}]")]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    def call(self, token: str) -> int:
        """Call a tool with curl in the network of the container; return the HTTP status."""
        command = [
            *self._network(), "curl", "--silent", "--output", "/dev/null", "--write-out",
            "%{http_code}", "--cacert", str(self.ca), "--header",
            f"authorization: Bearer {token}", "--data", "{}", "https://localhost:8443/search",
        ]  # fmt: skip
        return int(_output(command))

    def leave_orphan(self) -> None:
        """Let the first process inherit a process that ends at once, and wait until it is gone."""
        script = "import os\nif not os.fork():\n    os.setsid()\n    os.fork()\n"
        _output([*self._enter(*_NAMESPACES), self._python, "-Ic", script])
        _wait(lambda: not self._zombies(), "the first process of the container reaps no orphan")

    def _zombies(self) -> bool:
        command = ["ps", "--ppid", str(self._first), "--format", "stat="]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "Z" in found

    def _enter(self, *namespaces: str) -> list[str]:
        command = ["nsenter", f"--target={self._first}", "--preserve-credentials", *namespaces]
        return [*self._user, *command, "--"]

    def _network(self) -> list[str]:
        # The programs of the test are for its own user.
        command = ["nsenter", f"--target={self._first}", "--net"]
        return [
            *command,
            *([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]),
            "--",
        ]


def _as(user: int) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end, otherwise


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=2 * _SECONDS, check=False
    )
    assert done.returncode == 0, (done.returncode, command, done.stdout, done.stderr)
    return done.stdout.strip()


def why_not() -> str:
    """Return why no container can be made here; "" if one can."""
    try:
        with tempfile.TemporaryFile() as errors:
            probe = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "true"]
            status = subprocess.run(probe, stderr=errors, check=False).returncode
            errors.seek(0)
            said = errors.read().decode().strip().removeprefix("bwrap: ") or f"status {status}"
            return f"no container can be made here: bwrap: {said}" if status else ""
    except FileNotFoundError:
        return "no container can be made here, since bwrap is not installed"
