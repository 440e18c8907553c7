"""A whole gateway with its control API, crews bd and finance, and clients with certificates."""

import os
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from command_process import crewgate
from control_world import CREW, CREWS, add_crew
from installation import Installation, is_listening, wait_until

NEW = {"grant_type": "client_credentials", "scope": "search.*", "credits": "100", "role": "lead"}
CHILD = "urn:ietf:params:oauth:grant-type:token-exchange"
HOLDERS = {
    "ada": ("--role", "operator", "--name", "ada"),
    "bd": ("--role", "orchestrator", "--crew", "bd", "--name", "bd-1"),
    "finance": ("--role", "orchestrator", "--crew", "finance", "--name", "fin-1"),
    "edge": ("--role", "gateway", "--name", "edge-1"),
}


class ControlSite(Installation):
    """Holders ada (operator), bd, finance (orchestrators) and edge (gateway)."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        text = self.file.read_text()
        for crew in CREWS:
            add_crew(self.folder, crew)
            text += CREW.format(crew=crew)
        self.file.write_text(text)
        self.root = self.folder / "certs" / "ca.pem"
        self.control = f"https://localhost:{self.port + 2}"
        for name in HOLDERS:
            self.issue(name)

    def issue(self, name: str, out: str = "") -> Path:
        """A certificate of a holder, by the CA's own command; its prefix."""
        prefix = self.folder / (out or name)
        self.run("ca", "issue", *HOLDERS[name], "--out", str(prefix))
        return prefix

    def serve(self, environment: dict[str, str] | None = None) -> None:
        """Until the control API answers too."""
        super().serve(environment)
        self.await_control()

    def await_control(self) -> None:
        """Until it answers; a command takes more than a look at whether it listens."""
        port = int(self.control.rpartition(":")[2])
        wait_until(lambda: is_listening(port))
        wait_until(lambda: self.tell("status", check=False).returncode == 0)

    def context(self, name: str = "") -> ssl.SSLContext:
        """Of a client with a holder's certificate, or none."""
        context = ssl.create_default_context(cafile=str(self.root))
        if name:
            prefix = self.folder / name
            context.load_cert_chain(f"{prefix}.pem", f"{prefix}.key")
        return context

    def api(self, name: str = "", *, http2: bool = True) -> httpx.Client:
        """A stock client of the control API."""
        return httpx.Client(
            verify=self.context(name),
            http2=http2,
            base_url=self.control,
            timeout=30,
            trust_env=False,
        )

    def tell(
        self, *arguments: str, who: str = "ada", check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command by way of the API."""
        where = ["--control", self.control, "--ca", str(self.root)]
        done = crewgate(*arguments, *where, "--cert", self.folder / who, stdin=stdin)
        assert done.returncode == 0 or not check, (arguments, done.stdout, done.stderr)
        return done

    def run_token(self, who: str = "bd") -> dict[str, Any]:
        """A new run of an orchestrator, by the token endpoint."""
        with self.api(who) as api:
            answer = api.post("/v1/tokens", data=NEW)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def call(self, token: str) -> httpx.Response:
        """One call of a tool."""
        context = ssl.create_default_context(cafile=str(self.root))
        return httpx.post(
            f"https://127.0.0.1:{self.port}/search",
            headers={"authorization": f"Bearer {token}"},
            json={},
            verify=context,
            timeout=30,
            trust_env=False,
        )

    def control_pid(self) -> int:
        """The control process; the test's own bound is for one that is not there."""
        self.await_control()  # a worker may be about to load another configuration
        wait_until(lambda: self.children("control"))
        return self.children("control")[0]

    def log(self) -> str:
        """What `serve` and its children said."""
        return (self.folder / "serve.log").read_text()


@contextmanager
def control_site(folder: Path, **options: Any) -> Iterator[ControlSite]:
    """One that serves while the block runs."""
    site = ControlSite(folder, **options)
    try:
        site.serve()
        yield site
    finally:
        for pid in site.children("control") if site.serving else []:
            os.kill(pid, signal.SIGCONT)
        site.end()


def serial_of(prefix: Path) -> str:
    """As OpenSSL has it."""
    done = subprocess.run(
        ["openssl", "x509", "-in", f"{prefix}.pem", "-noout", "-serial"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search("serial=([0-9A-F]+)", done.stdout)
    assert found is not None
    return found[1]
