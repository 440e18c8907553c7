"""A sub-agent proves its branch with a certificate for a key of its own."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import forged_certificates
import httpx
import msgspec
import pytest
from authority import Files
from cryptography import x509
from installation import wait_until
from mtls_gateway import Boundary

from crewgate.ca.authority import request_pem
from crewgate.ca.certificates import identity_in, new_key
from crewgate.ca.key_files import key_pem, read_certificates
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import BranchRevokedError, IssuerError
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.branch_certificates import BranchCertificates
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.remote import remote_orchestrator

ALL, CONTROL, EITHER = 1, 2, 6


class Crew:
    """An orchestrator on another host, and its client for certificates."""

    def __init__(self, boundary: Boundary, name: str) -> None:
        self.boundary = boundary
        self.files = boundary.issue(forged_certificates.bd(name, crew="article")).files
        where = f"https://127.0.0.1:{boundary.port + CONTROL}", self.files.certificate
        self.orchestrator: Orchestrator = remote_orchestrator(*where, ca=boundary.root)
        self.certificates = BranchCertificates(*where, ca=boundary.root)

    def spawn(self, parent: SubAgent | None = None) -> SubAgent:
        """A branch whose first token is good over the orchestrator's connections alone."""
        binding, tools = self.certificates.own_binding, ["search.*"]
        if parent is None:
            return self.orchestrator.start_run(credits="9", tools=tools, binding=binding)
        return self.orchestrator.spawn(
            role="researcher", parent=parent, tools=tools, credits="1", binding=binding
        )

    def certify(self, agent: SubAgent) -> Files:
        """The files of the sub-agent, which makes its key itself."""
        key = new_key()
        chain = self.certificates.issue(agent, request_pem(key).decode())
        stem = self.boundary.folder / agent.branch
        files = Files(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        files.certificate.write_text(chain)
        files.key.write_bytes(key_pem(key))
        return files

    def close(self) -> None:
        self.certificates.close()
        self.orchestrator.close()


@pytest.fixture(scope="module")
def crew(boundary: Boundary) -> Iterator[Crew]:
    found = Crew(boundary, "article-1")
    yield found
    found.close()


def call(boundary: Boundary, token: str | None, files: Files | None, offset: int = ALL) -> str:
    """The reason of the refusal, or "" for a good answer."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with boundary.http(files, offset) as client:
        answer = client.post("/search", headers=headers)  # without a body: compiled code carries it
    return "" if answer.status_code == 200 else answer.json()["type"].rpartition("/")[2]


def leaf_of(files: Files) -> x509.Certificate:
    return read_certificates(files.certificate)[0]


def test_a_branch_calls_with_its_own_certificate_alone(boundary: Boundary, crew: Crew) -> None:
    run = crew.spawn()
    one, two = crew.spawn(run), crew.spawn(run)
    first = one.token()
    mine, theirs = crew.certify(one), crew.certify(two)
    leaf = leaf_of(mine)
    assert identity_in(leaf).label == f"article/article-1#{one.branch}"
    assert leaf.not_valid_after_utc.timestamp() == read_claims(first).exp
    assert one.claims.cnf != read_claims(first).cnf
    bearer, orchestrator = boundary.token(), crew.files
    # Then its branch has credit here, so that compiled code could carry its calls.
    assert [call(boundary, bearer, None, EITHER) for _ in range(3)] == [""] * 3
    for offset in (ALL, EITHER):
        for token, files, reason in (
            (one.token(), mine, ""),
            (two.token(), theirs, ""),
            (one.token(), theirs, "invalid-proof"),
            (one.token(), orchestrator, "invalid-proof"),
            (first, orchestrator, ""),
            (first, mine, "invalid-proof"),
            # A token of another branch that is bound to no key, or even to this certificate.
            (bearer, mine, "binding-mismatch"),
            (run.refresh(binding=one.claims.cnf), mine, "binding-mismatch"),
            (None, mine, "missing-token"),
        ):
            assert call(boundary, token, files, offset) == reason, (files, reason)
    assert call(boundary, one.token(), None, EITHER) == "invalid-proof"
    assert call(boundary, boundary.token("bd"), mine) == "binding-mismatch"
    serial = f"{leaf.serial_number:X}"
    (done, *_) = boundary.ask("audit", "--certificate", serial)["calls"]
    assert (done["branch"], done["orchestrator"]) == (one.branch, "article/article-1")
    # It gets its next certificate with its next token.
    newer = crew.certify(one)
    assert call(boundary, one.token(), newer) == ""
    done = [each["detail"] for each in boundary.records() if each.get("event") == "control"]
    assert any(f"got certificate {serial} for article/article-1#{one.branch}" in d for d in done)
    # Register, CRL and table know one of a branch as each other certificate.
    wait_until(lambda: boundary.ask("ca", "revoke", str(newer.certificate))["announced"])
    wait_until(lambda: "CERTIFICATE_REVOKED" in boundary.knock(newer, ALL, boundary.say()).alert)
    (row,) = [r for r in boundary.ask("ca", "list") if r["serial"] == serial]
    assert (row["role"], row["branch"], row["status"]) == ("agent", one.branch, "valid")


def test_only_its_orchestrator_gets_one(boundary: Boundary, crew: Crew) -> None:
    """Also an operator; but no other orchestrator, and no sub-agent."""
    branch = crew.spawn(crew.spawn())
    other = Crew(boundary, "article-2")
    with pytest.raises(IssuerError, match="its own branches only"):
        other.certify(branch)
    other.close()
    files, seen = crew.certify(branch), len(boundary.connections())
    control = f"https://127.0.0.1:{boundary.port + CONTROL}"
    with (
        httpx.Client(verify=boundary.context(files), base_url=control, trust_env=False) as client,
        pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)),
    ):
        client.delete(f"/v1/branches/{branch.branch}")
    record = boundary.next_connection(seen)
    assert (record["reason"], record["branch"]) == ("role-not-admitted", branch.branch)
    assert call(boundary, branch.token(), files) == ""


def test_by_command_from_another_host(boundary: Boundary, tmp_path: Path) -> None:
    """Without a configuration: a token, a certificate for it, and a token for the certificate."""
    own = boundary.issue(forged_certificates.bd("article-3", crew="article")).files.certificate
    url, prefix = f"https://127.0.0.1:{boundary.port + CONTROL}", str(own.with_suffix(""))
    api = ("--control", url, "--cert", prefix, "--ca", str(boundary.root))

    def run(*words: str) -> str:
        return boundary.run(words[0], *words[1:], *api, configured=False).strip()

    new = ("--crew", "article", "--role", "r", "--tools", "search.*", "--credits", "1")
    token = run("mint", *new, "--certificate", str(own))
    out = tmp_path / "agent"
    run("ca", "issue", "--role", "agent", "--token", token, "--out", str(out))
    files = Files(out.with_suffix(".pem"), out.with_suffix(".key"))
    bound = run("refresh", token, "--certificate", str(files.certificate))
    assert call(boundary, bound, files) == ""
    assert call(boundary, token, files) == "invalid-proof"


@pytest.mark.parametrize("above", [False, True], ids=["itself", "its run"])
def test_a_revoked_branch_is_disconnected(boundary: Boundary, crew: Crew, *, above: bool) -> None:
    """Its streams and idle connections end, and the gateway takes neither a new one nor a CSR."""
    run = crew.spawn()
    branch = crew.spawn(run)
    files, token, ended = crew.certify(branch), branch.token(), threading.Event()

    def stream(client: httpx.Client, started: threading.Event) -> None:
        headers = {"authorization": f"Bearer {token}"}
        try:
            with client.stream("GET", "/stream?every=0.05", headers=headers) as answer:
                for _ in answer.iter_raw():
                    started.set()
        except httpx.TransportError:
            pass
        ended.set()

    idle = boundary.context(files).wrap_socket(
        socket.create_connection(("127.0.0.1", boundary.port + ALL), 30),
        server_hostname="localhost",
    )
    with idle, boundary.http(files, ALL, http2=False) as client:
        started, seen = threading.Event(), len(boundary.connections())
        reader = threading.Thread(target=stream, args=(client, started))
        reader.start()
        assert started.wait(30)
        receipt = crew.orchestrator.revoke(run if above else branch)
        assert receipt is not None
        assert receipt.calls_cut == 1
        assert ended.wait(30)
        reader.join()
        with pytest.raises(BranchRevokedError):
            crew.certify(branch)
        if above:
            # The certificate names its branch alone. So the connection stays, and is of no use.
            assert call(boundary, token, files) == "branch-revoked"
            return
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            assert idle.recv(1)
    record = boundary.next_connection(seen)
    expected = ("expelled", "certificate-revoked", branch.branch)
    assert (record["verdict"], record["reason"], record["branch"]) == expected
    seen = len(boundary.connections())
    assert boundary.knock(files, ALL, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").answer == b""
    assert boundary.next_connection(seen)["reason"] == "certificate-revoked"


def test_it_ends_with_its_branch(boundary: Boundary, tmp_path: Path) -> None:
    """By command at the CA: no longer than was asked for, and refused afterwards."""
    token = boundary.token()
    prefix = tmp_path / "agent"
    issue = ("ca", "issue", "--role", "agent", "--token", token, "--out", str(prefix))
    boundary.run(*issue, "--life", "2s")
    files = Files(prefix.with_suffix(".pem"), prefix.with_suffix(".key"))
    ask = boundary.say()
    wait_until(lambda: "CERTIFICATE_EXPIRED" in boundary.knock(files, ALL, ask).alert)
    assert boundary.knock(files, ALL, ask).answer == b""


def test_forged_ones(boundary: Boundary) -> None:
    """The CA's own key has signed them, and the gateway refuses what they say."""
    agent = forged_certificates.bd(role=Role.AGENT)
    value = forged_certificates.identity_.encode(agent)
    nobody = value.replace(agent.instance, bytes(16))
    no_crew = value.replace(b"\x0c\x02bd", b"\x0c\x00").replace(
        bytes([0x30, value[1]]), bytes([0x30, value[1] - 2]), 1
    )
    next_role = value.replace(b"\x0a\x01\x03", b"\x0a\x01\x04")
    other = msgspec.structs.replace(agent, crew="marketing")
    for identity, reason in (
        (nobody, "no-identity"),
        (no_crew, "no-identity"),
        (next_role, "no-identity"),
        (other, "crew-not-admitted"),
    ):
        files, seen = boundary.forged(identity=identity), len(boundary.connections())
        assert boundary.knock(files, ALL, boundary.say("bd")).answer == b""
        assert boundary.next_connection(seen)["reason"] == reason
