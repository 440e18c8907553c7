"""Another server certificate, CA or crew: what is open goes on, newcomers are judged anew."""

import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import forged_certificates
import httpx
import trio
from installation import wait_until
from mtls_gateway import Boundary, Leaf, bounded

from crewgate.ca.authority import Authority, create
from crewgate.config import CAConfig


def _reload(boundary: Boundary, old: str = "", new: str = "") -> None:
    """Change a text of the file, and wait until all workers have loaded it."""
    before = boundary.generation()
    text = boundary.file.read_text()
    assert old in text
    boundary.file.write_text(text.replace(old, new, 1) if old else f"{text}\n# {before}\n")
    assert boundary.serving is not None
    boundary.serving.send_signal(signal.SIGHUP)
    wait_until(lambda: boundary.generation() > before)
    boundary.run("status", "--wait", "100")


class Open:
    """A stream that is open over a reload."""

    def __init__(self) -> None:
        self.pieces = 0
        self.is_over = False
        self.over = trio.Event()

    async def run(self, boundary: Boundary, leaf: Leaf) -> None:
        """Over HTTP/1.1: httpx gives up its streams when HTTP/2 says goodbye."""
        client = httpx.AsyncClient(
            verify=boundary.context(leaf.files), timeout=60, trust_env=False,
            base_url=f"https://127.0.0.1:{boundary.port + 1}",
        )  # fmt: skip
        headers = {"authorization": f"Bearer {boundary.token('bd')}"}
        async with client:
            try:
                async with client.stream("GET", "/stream?every=0.05", headers=headers) as answer:
                    async for _ in answer.aiter_raw():
                        self.pieces += 1
            except httpx.TransportError:
                pass
            self.is_over = True
            self.over.set()

    async def goes_on(self) -> None:
        """Another event comes."""
        before = self.pieces
        with trio.fail_after(30):
            while self.pieces <= before:
                assert not self.is_over
                await trio.sleep(0.01)

    async def ends(self) -> None:
        with trio.fail_after(30):
            await self.over.wait()


async def test_a_new_server_certificate_drops_nobody(tmp_path: Path) -> None:
    """Who comes sees the new one; the stream goes on (HTTP/2: tests/e2e/server/test_renewal)."""
    with bounded(tmp_path, workers=1) as boundary:
        leaf, stream = boundary.issue(forged_certificates.bd()), Open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run, boundary, leaf)
            await stream.goes_on()
            before = _shown(boundary, leaf)
            with Authority(boundary.ca) as authority:
                issuing = authority.issuing
            file = boundary.folder / "certs/gateway.pem"
            server = forged_certificates.server(issuing, "localhost", "127.0.0.1")
            (boundary.folder / "gateway/gateway.key").write_bytes(server.key_pem)
            file.write_bytes(server.certificate_pem + issuing.certificate_pem)
            await trio.to_thread.run_sync(_reload, boundary)
            assert _shown(boundary, leaf) == f"{server.certificate.serial_number:X}".zfill(40)
            assert before != _shown(boundary, leaf)
            await stream.goes_on()
            nursery.cancel_scope.cancel()


def _shown(boundary: Boundary, leaf: Leaf) -> str:
    """The serial number of the certificate that the gateway shows."""
    with (
        socket.create_connection(("127.0.0.1", boundary.port + 1), 20) as plain,
        boundary.context(leaf.files).wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        found = secure.getpeercert()
        assert found is not None
        return str(found["serialNumber"]).zfill(40)


async def test_another_ca_drops_nobody_and_admits_its_own(tmp_path: Path) -> None:
    """What a client of the old CA has under way goes on; its next handshake is a stranger's."""
    with bounded(tmp_path, workers=1) as boundary:
        leaf, stream = boundary.issue(forged_certificates.bd()), Open()
        folder = boundary.folder / "other"
        other = CAConfig(folder, folder / "root.pem", folder / "crl.pem", "other.example")
        folder.mkdir(mode=0o700)
        create(other, datetime.now(UTC))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run, boundary, leaf)
            await stream.goes_on()
            for old, new in (
                ('root = "certs/ca.pem"', 'root = "other/root.pem"'),
                ('crl = "certs/crl.pem"', 'crl = "other/crl.pem"'),
                ('# ocsp = "required"', 'ocsp = "off"'),  # the old CA's responder knows nothing
            ):
                boundary.file.write_text(boundary.file.read_text().replace(old, new))
            await trio.to_thread.run_sync(_reload, boundary)
            await stream.goes_on()
            assert boundary.knock(leaf.files, 1, boundary.say("bd")).alert == (
                "TLSV1_ALERT_UNKNOWN_CA"
            )
            boundary.ca = other
            theirs = boundary.issue(forged_certificates.bd())
            assert boundary.knock(theirs.files, 1, boundary.say("bd")).status == 200
            nursery.cancel_scope.cancel()


async def test_a_crew_that_is_no_longer_admitted_is_expelled(tmp_path: Path) -> None:
    """Its open connections end with a record; the others' go on."""
    with bounded(tmp_path, workers=1) as boundary:
        leaf, stream = boundary.issue(forged_certificates.bd()), Open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.run, boundary, leaf)
            await stream.goes_on()
            await trio.to_thread.run_sync(
                _reload,
                boundary,
                'client_certificate = "required"',
                'client_certificate = "required"\ncrews = ["finance"]',
            )
            await stream.ends()
            nursery.cancel_scope.cancel()
        (record,) = boundary.connections()
        assert (record["verdict"], record["reason"]) == ("expelled", "crew-not-admitted")
        assert record["orchestrator"] == "bd/bd-1"


def test_a_list_that_cannot_be_read_is_taken_up_once_it_can(tmp_path: Path) -> None:
    """A broken file changes nothing; the next good one is in force, without a reload."""
    with bounded(tmp_path, workers=1) as boundary:
        leaf = boundary.issue(forged_certificates.bd())
        log = boundary.folder / "serve.log"
        # Which signs a list as it starts, and reads it as it opens its port.
        wait_until(lambda: "control API at" in log.read_text())

        def is_told() -> bool:
            boundary.ca.crl.write_text("nonsense")  # again: the control process mends it
            return "keeping the previous CRL: " in log.read_text()

        wait_until(is_told)
        assert boundary.knock(leaf.files, 1, boundary.say("bd")).status == 200
        boundary.run("ca", "revoke", leaf.entry.serial)
        knock = boundary.knock(leaf.files, 1, boundary.say("bd"))
        assert knock.answer == b""
        wait_until(
            lambda: (
                boundary.knock(leaf.files, 1, boundary.say("bd")).alert
                == "SSLV3_ALERT_CERTIFICATE_REVOKED"
            )
        )
