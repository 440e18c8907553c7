"""A whole gateway that asks for each certificate's status, and a responder at a unix socket."""

import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from installation import Installation, wait_until
from ocsp_world import UnixResponder, serving

from crewgate.ca.authority import Authority
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.ocsp.responder import Responder
from crewgate.config import CAConfig, load
from crewgate.ipc.admin_client import AdminClient
from crewgate.issuer import SubAgent

KEY = 'client_certificate = "required"'


class Boundary(Installation):
    """An installation whose second listener asks for certificates, and has OCSP asked.

    Without a `mode` all is as `init` wrote it; else the responder is the test's.
    """

    def __init__(self, folder: Path, mode: str | None) -> None:
        super().__init__(folder, workers=1)
        if mode is None:
            return
        self.socket = self.folder / "ocsp.sock"
        lines = self.file.read_text().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("ocsp"))
        self.file.write_text(text.replace("[ca]\n", '[ca]\nocsp = "unix:ocsp.sock"\n'))
        self.demand(mode)

    @property
    def ca(self) -> CAConfig:
        ca = load(self.file).ca
        assert ca is not None
        return ca

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def demand(self, mode: str) -> None:
        """Write what the listener makes of OCSP, in place of what stands there."""
        text = self.file.read_text()
        first = next(line for line in text.splitlines() if line.startswith(KEY))
        lines = [first, f'ocsp = "{mode}" # as the test has it']
        kept = [line for line in text.splitlines() if not line.endswith("# as the test has it")]
        at = kept.index(first)
        self.file.write_text("\n".join([*kept[:at], *lines, *kept[at + 1 :]]) + "\n")

    def reload(self) -> None:
        """Have the file loaded again, which may have been seen before, and wait until it is."""
        with AdminClient(self.folder / "state") as owner:
            owner.reload()
        self.generation()

    def issue(self, name: str) -> str:
        """Files of a certificate; its serial."""
        asked = ("ca", "issue", "--role", "orchestrator", "--crew", "article", "--name", name)
        return str(self.ask(*asked, "--out", str(self.folder / name))["serial"])

    def call(self, name: str, agent: SubAgent) -> int | None:
        """The status of a call over a new connection with that certificate; None if it is cut."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.pem"))
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        url = f"https://127.0.0.1:{self.port + 1}/search"
        head = {"authorization": f"Bearer {agent.token()}"}
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            try:
                return client.post(url, json={}, headers=head).status_code
            except httpx.TransportError:
                return None

    def told(self) -> list[dict[str, Any]]:
        """The records of connections."""
        return [each for each in self.records() if each["kind"] == "connection"]


@contextmanager
def boundary(folder: Path, mode: str | None) -> Iterator[Boundary]:
    site = Boundary(folder, mode)
    try:
        site.serve()
        yield site
    finally:
        site.end()


@contextmanager
def responding(site: Boundary) -> Iterator[UnixResponder]:
    """Our responder, as a control process would have it."""
    with Authority(site.ca) as authority:
        responder = Responder(authority.issuing, authority.register)

        def answer(data: bytes) -> bytes:
            return responder.answer(data, datetime.now(UTC))

        try:
            with serving(UnixResponder(site.socket, answer)) as server:
                yield server
        finally:
            site.socket.unlink()


def test_who_is_revoked_for_the_issuer_alone_reaches_no_http(tmp_path: Path) -> None:
    """No CRL, no table and no push know of it: the answer to the question does, and silence too."""
    with boundary(tmp_path, "required") as site:
        agent = site.orchestrator().start_run(credits="90", tools=["search.*"])
        good, dead, late = (site.issue(name) for name in ("good", "dead", "late"))
        with CertificateDB(site.ca.register) as register:
            register.revoke([dead], "keyCompromise", 1_700_000_000)
        with responding(site) as server:
            assert site.call("good", agent) == 200
            assert site.call("good", agent) == 200
            assert len(server.heads) == 1, "one answer serves for its minute"
            assert site.call("dead", agent) is None
        assert site.call("late", agent) is None, "nobody answers, so nobody comes in"
        wait_until(lambda: len(site.told()) == 2)
        assert [(each["serial"], each["verdict"], each["reason"]) for each in site.told()] == [
            (dead, "refused", "certificate-revoked"),
            (late, "refused", "revocation-unavailable"),
        ]
        assert site.told()[1]["doubt"] == "responder-unreachable"
        assert f"OCSP at unix:{site.socket}: responder-unreachable" in site.log
        assert good not in {each["serial"] for each in site.told()}
        warnings = [line for line in site.log.splitlines() if " WARNING " in line]
        assert all("OCSP at unix:" in line for line in warnings), warnings


def test_the_control_process_answers_as_init_has_it(tmp_path: Path) -> None:
    """Nothing is configured by hand: good comes in, revoked for the issuer alone does not."""
    with boundary(tmp_path, None) as site:
        agent = site.orchestrator().start_run(credits="90", tools=["search.*"])
        site.issue("good")
        dead = site.issue("dead")
        with CertificateDB(site.ca.register) as register:
            register.revoke([dead], "keyCompromise", 1_700_000_000)
        wait_until(lambda: site.call("good", agent) == 200)  # the control process may be starting
        assert site.call("dead", agent) is None
        wait_until(lambda: dead in {each["serial"] for each in site.told()})
        (record,) = [each for each in site.told() if each["serial"] == dead]
        assert (record["verdict"], record["reason"]) == ("refused", "certificate-revoked")


def test_soft_fail_admits_in_doubt_loudly_until_a_reload_ends_it(tmp_path: Path) -> None:
    """Said at the start and at each reload; each connection is a record; "required" ends it."""
    with boundary(tmp_path, "soft-fail") as site:
        agent = site.orchestrator().start_run(credits="90", tools=["search.*"])
        serial = site.issue("one")
        warning = 'WARNING: listener crews: ocsp = "soft-fail"'
        assert site.log.count(warning) == 1
        for _ in range(2):
            assert site.call("one", agent) == 200
        wait_until(lambda: len(site.told()) == 2)
        for record in site.told():
            assert (record["verdict"], record["reason"]) == ("admitted", "revocation-unavailable")
            assert (record["serial"], record["orchestrator"]) == (serial, "article/one")
            assert record["doubt"] == "responder-unreachable"
        with site.file.open("a") as file:
            file.write("\n# changed\n")
        site.reload()
        wait_until(lambda: site.log.count(warning) == site.log.count("serving configuration") > 1)
        warned = site.log.count(warning)
        site.demand("required")
        site.reload()
        assert site.call("one", agent) is None
        assert site.log.count(warning) == warned


def test_a_revocation_by_command_is_heard_although_a_good_answer_is_remembered(
    tmp_path: Path,
) -> None:
    """What was remembered of the certificate does not outlive the push; a sibling's does."""
    with boundary(tmp_path, "required") as site, responding(site) as server:
        agent = site.orchestrator().start_run(credits="90", tools=["search.*"])
        site.issue("one")
        site.issue("sibling")
        assert site.call("one", agent) == site.call("sibling", agent) == 200
        asked = len(server.heads)
        site.run("ca", "revoke", str(site.folder / "one.pem"))
        assert site.call("one", agent) is None
        assert site.call("sibling", agent) == 200
        assert len(server.heads) == asked


def test_a_configuration_that_could_ask_nobody_is_not_put_in_force(tmp_path: Path) -> None:
    """Without the issuing certificate it waits until that is there; where OCSP is off, it does not.

    What is in force stays, and so do its listeners' rules.
    """
    with boundary(tmp_path, "off") as site:
        agent = site.orchestrator().start_run(credits="90", tools=["search.*"])
        site.issue("one")
        aside = site.ca.issuing.rename(site.folder / "aside.pem")
        with site.file.open("a") as file:
            file.write("\n# changed\n")
        site.reload()
        assert site.call("one", agent) == 200
        site.demand("required")
        assert site.serving is not None
        site.serving.send_signal(signal.SIGHUP)
        # The agent may also have seen the file half written.
        why = re.compile(
            "keeping the active configuration: .*/issuing.pem: the certificate cannot be read"
        )
        wait_until(lambda: why.search(site.log))
        assert site.call("one", agent) == 200
        aside.rename(site.ca.issuing)
        wait_until(lambda: site.call("one", agent) is None)  # the worker has it a moment later
