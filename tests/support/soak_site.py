"""The premises of a soak: one gateway, its tools' servers, and the configurations it is moved to.

Everything goes through what an operator has: the file, the certificate, signals, and `status`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import forged_certificates
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from installation import Premises

from crewgate.ca.certificates import CertificateAndKey
from crewgate.demo.ports import reserve
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.admin_messages import AgentStatus, TreeRow

HERE = Path(__file__).parent
CREW_TOOLS = '["soak.*"]'


class Tool(NamedTuple):
    """A tool; `price` in micro-credits, at odd editions of the configuration more by `rise`."""

    name: str
    method: str
    path: str
    upstream: str
    price: int
    more: str = ""
    rise: int = 0


TOOLS = (
    Tool("soak.call", "POST", "/call", "steady", 10_000),
    Tool("soak.free", "POST", "/free", "steady", 0),
    Tool("soak.page", "GET", "/pages/*", "steady", 2_000, rise=1_000),
    Tool("soak.events", "GET", "/events", "steady", 20_000),
    Tool("soak.file", "PUT", "/files/*", "steady", 30_000),
    Tool("soak.judged", "POST", "/judged", "steady", 5_000, 'decide_on = "body"'),
    Tool("soak.observed", "POST", "/observed", "steady", 1_000, 'mode = "observe"'),
    Tool("soak.mortal-call", "POST", "/mortal/call", "mortal", 10_000),
    Tool("soak.mortal-page", "GET", "/mortal/pages/*", "mortal", 2_000),
    Tool("soak.mortal-events", "GET", "/mortal/events", "mortal", 20_000),
    Tool("soak.mortal-file", "PUT", "/mortal/files/*", "mortal", 30_000),
    Tool("soak.hanging-call", "POST", "/hanging/call", "hanging", 10_000),
    Tool("soak.impatient-call", "POST", "/impatient/call", "impatient", 10_000),
    Tool("soak.secure-call", "POST", "/secure/call", "secure", 10_000),
    Tool("soak.secure-file", "PUT", "/secure/files/*", "secure", 30_000),
    Tool("soak.plexed-call", "POST", "/plexed/call", "plexed", 10_000),
    Tool("soak.plexed-page", "GET", "/plexed/pages/*", "plexed", 2_000),
    Tool("soak.plexed-events", "GET", "/plexed/events", "plexed", 20_000),
    Tool("soak.plexed-file", "PUT", "/plexed/files/*", "plexed", 30_000),
    Tool("soak.plexed-mood", "POST", "/plexed/mood/*", "plexed", 4_000),
    Tool("soak.moody-call", "POST", "/moody/call", "moody", 10_000),
    Tool("soak.mood", "POST", "/moody/mood/*", "moody", 4_000),
    Tool("soak.leaving", "POST", "/leaving/mood/*", "leaving", 4_000),
    Tool("soak.leaving-file", "PUT", "/leaving/mood/*", "leaving", 4_000),
    Tool("other.call", "POST", "/other", "steady", 10_000),
)
EXTRA = Tool("soak.extra", "POST", "/extra", "steady", 7_000)
# The tools' servers by name: how they are spoken to (https where TLS has a protocol).
SERVERS = {
    "steady": "",
    "mortal": "",
    "twin": "",
    "hanging": "",
    "moody": "",
    "leaving": "",
    "secure": "http/1.1",
    "plexed": "h2",
}
# At a quiet point no connection is idle any more: soon after the load.
UPSTREAMS = """
[upstream.steady]
keep_seconds = 4
url = "{steady}"
[upstream.mortal]
keep_seconds = 4
endpoints = ["{mortal}", "{twin}"]
health = {{ path = "/health", interval_seconds = 1, timeout_seconds = 0.5 }}
[upstream.hanging]
keep_seconds = 4
url = "{hanging}"
[upstream.impatient]
keep_seconds = 4
url = "{hanging}"
first_byte_seconds = 1
[upstream.moody]
keep_seconds = 4
url = "{moody}"
[upstream.leaving]
keep_seconds = 4
url = "{leaving}"
[upstream.secure]
keep_seconds = 4
url = "{secure}"
tls = {{ ca = "certs/ca.pem", server_name = "localhost" }}
[upstream.plexed]
keep_seconds = 4
url = "{plexed}"
protocol = "h2"
tls = {{ ca = "certs/ca.pem", server_name = "localhost" }}
"""
SECTION = """
[tool."{name}"]
method = "{method}"
path = "{path}"
upstream = "{upstream}"
price = "{price:.6f}"
{more}
"""


class SoakSite(Premises):
    """A served gateway with its tools' servers, and the handles of an operator."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.eyes = folder / "eyes"
        self.eyes.mkdir()
        self.audit = self.folder / "state" / "audit"
        self._ca = CertificateAndKey(*read_pair(self.folder))
        issued, pair = self._issue(), (folder / "tools.pem", folder / "tools.key")
        self._replace(pair[0], issued.certificate_pem + self._ca.certificate_pem)
        self._replace(pair[1], issued.key_pem)
        self.tools = {
            name: ToolServer(folder, name, (*map(str, pair), protocol) if protocol else ())
            for name, protocol in SERVERS.items()
        }
        self._head = self.file.read_text().partition("[upstream.")[0]
        self._head = self._head.replace(
            'tools = ["search.*", "embeddings.*", "publish.*"]', f"tools = {CREW_TOOLS}"
        ).replace('credits_per_branch = "1000"', 'credits_per_branch = "1000000000"')
        self.write(0)

    def serve(self, environment: dict[str, str] | None = None) -> None:
        """Start everything; every child gets eyes (`soak_eyes/sitecustomize.py`)."""
        for tools in self.tools.values():
            tools.start()
        path = os.pathsep.join(
            filter(None, [str(HERE / "soak_eyes"), os.environ.get("PYTHONPATH")])
        )
        # Dumpable: their descriptors are counted, as a user who is not root.
        eyes = {"PYTHONPATH": path, "SOAK_EYES": str(self.eyes), "CREWGATE_DUMPABLE": "1"}
        super().serve(eyes | (environment or {}))

    def end(self) -> None:
        """End the gateway and the tools' servers."""
        super().end()
        for tools in self.tools.values():
            tools.end()

    # The configuration.

    def write(self, edition: int) -> None:
        """Write the configuration; odd editions have one tool more, the first, and a dearer one."""
        odd = edition % 2
        tools = (EXTRA, *TOOLS) if odd else TOOLS
        text = self._head + f"# edition {edition}\n"
        text += UPSTREAMS.format(**{name: server.url for name, server in self.tools.items()})
        for tool in tools:
            price = tool.price + odd * tool.rise
            text += SECTION.format(**(tool._asdict() | {"price": price / 1e6}))
        self._replace(self.file, text.encode())

    def spoil(self) -> None:
        """Write a configuration that nobody may take up."""
        self._replace(self.file, self._head.encode() + b'[tool."soak.call"]\nprice = 3\n')

    def renew_certificate(self) -> bytes:
        """Replace the listener's certificate and key; the new leaf in DER."""
        issued = self._issue()
        self._replace(self.folder / "gateway" / "gateway.key", issued.key_pem)
        chain = issued.certificate_pem + self._ca.certificate_pem
        self._replace(self.folder / "certs" / "gateway.pem", chain)
        return issued.certificate.public_bytes(serialization.Encoding.DER)

    def hang_up(self) -> None:
        """SIGHUP."""
        assert self.serving is not None
        self.serving.send_signal(signal.SIGHUP)

    # What the agent says.

    def status(self) -> AgentStatus:
        """`crewgate status`."""
        with AdminClient(self.folder / "state", seconds=30) as owner:
            return owner.status()

    def tree(self) -> list[TreeRow]:
        """`crewgate tree`."""
        with AdminClient(self.folder / "state", seconds=30) as owner:
            return owner.tree()

    def _issue(self) -> CertificateAndKey:
        """A new certificate for this machine, and its key."""
        return forged_certificates.server(self._ca, "localhost", "127.0.0.1")

    def _replace(self, path: Path, data: bytes) -> None:
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(data)
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)


class ToolServer:
    """One tool's server: a process that may be ended in any way and started again."""

    def __init__(self, folder: Path, name: str, tls: tuple[str, ...] = ()) -> None:
        """`tls` are certificate, key and protocol of a server that speaks it."""
        self.name = name
        self.port = reserve()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._tls = tls
        self.log = folder / f"{name}.seen"
        self.log.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = str(HERE / "soak_upstream.py")
        self._process = subprocess.Popen(
            [sys.executable, program, str(self.port), str(self.log), *self._tls],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", self.name

    def strike(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait for its end."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def read_pair(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The issuing CA's certificate and key, as `init` left them."""
    certificate = x509.load_pem_x509_certificate((folder / "certs" / "issuing.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca" / "issuing.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return certificate, key
