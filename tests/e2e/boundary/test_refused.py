"""Who is refused before a byte of HTTP is read: what a client sees of it, what the audit says."""

import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import forged_certificates as forged
import pytest
from authority import Authority, Files
from installation import wait_until
from mtls_gateway import Boundary

from crewgate.core.x509.identity_extension import Role, encode

HOUR = timedelta(hours=1)
ALL, SOME, EITHER = 1, 5, 6  # ports above the agents'


class Case(NamedTuple):
    """A client, where it knocks, what it sees of the refusal, and the audit's word for it."""

    make: Callable[[Boundary], Files | None]
    offset: int
    alert: str  # as Python's ssl names it; "" for a connection that is closed after the handshake
    number: int  # RFC 8446 §6; 0 for none
    reason: str


def _of(**options: object) -> Callable[[Boundary], Files]:
    return lambda boundary: boundary.forged(**{"identity": forged.bd(), **options})


def _other_ca(boundary: Boundary) -> Files:
    issuing = forged.other_issuing()
    return forged.write(
        boundary.folder,
        forged.leaf(issuing, identity=forged.bd()),
        issuing,
    )


def _stranger(boundary: Boundary) -> Files:
    return Authority(boundary.folder, "stranger").issue(common="mallory")


def _server(boundary: Boundary) -> Files:
    return Files(boundary.folder / "certs/gateway.pem", boundary.folder / "gateway/gateway.key")


def _revoked(boundary: Boundary) -> Files:
    leaf = boundary.issue(forged.bd("bd-9"))
    revoke = ("ca", "revoke", leaf.entry.serial, "--reason", "keyCompromise")
    wait_until(lambda: boundary.ask(*revoke)["announced"])  # else the gateway hears of it later
    # From now on it is refused; with an alert, as soon as the list has been read anew.
    seen, knocks = len(boundary.connections()), 0
    for offset in (ALL, EITHER):
        alert = ""
        while alert != "SSLV3_ALERT_CERTIFICATE_REVOKED":
            alert = boundary.knock(leaf.files, offset, "").alert
            knocks += 1
    boundary.next_connection(seen + knocks - 1)
    return leaf.files


ENCODED = encode(forged.bd())
CASES = {
    "none": Case(
        lambda _: None, ALL, "TLSV13_ALERT_CERTIFICATE_REQUIRED", 116, "no-certificate"
    ),
    "other CA": Case(_other_ca, ALL, "TLSV1_ALERT_UNKNOWN_CA", 48, "unknown-authority"),
    "stranger": Case(_stranger, ALL, "TLSV1_ALERT_UNKNOWN_CA", 48, "unknown-authority"),
    "expired": Case(
        _of(begin=forged.now() - 2 * HOUR, end=forged.now() - HOUR),
        ALL, "SSLV3_ALERT_CERTIFICATE_EXPIRED", 45, "certificate-expired",
    ),
    "not yet valid": Case(
        _of(begin=forged.now() + HOUR, end=forged.now() + 2 * HOUR),
        ALL, "SSLV3_ALERT_BAD_CERTIFICATE", 42, "certificate-not-yet-valid",
    ),
    "serverAuth only": Case(
        _of(usages=forged.SERVER),
        ALL, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", 43, "no-client-usage",
    ),
    "the gateway's own": Case(
        _server, ALL, "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", 43, "no-client-usage"
    ),
    "revoked": Case(
        _revoked, ALL, "SSLV3_ALERT_CERTIFICATE_REVOKED", 44, "certificate-revoked"
    ),
    "no usage": Case(_of(usages=None), ALL, "", 0, "no-client-usage"),
    "no identity": Case(_of(identity=None), ALL, "", 0, "no-identity"),
    "cut identity": Case(_of(identity=ENCODED[:-1]), ALL, "", 0, "no-identity"),
    "long identity": Case(_of(identity=ENCODED + b"\0"), ALL, "", 0, "no-identity"),
    "odd identity": Case(
        _of(identity=ENCODED.replace(b"bd-1", b"BD/1")), ALL, "", 0, "no-identity"
    ),
    "unknown crew": Case(
        _of(identity=forged.bd(crew="marketing")), ALL, "", 0, "crew-not-admitted"
    ),
    "other crew": Case(_of(identity=forged.bd(crew="finance")), SOME, "", 0, "crew-not-admitted"),
    "gateway": Case(
        _of(identity=forged.bd("edge-1", Role.GATEWAY)), ALL, "", 0, "role-not-admitted"
    ),
    "operator": Case(
        _of(identity=forged.bd("ada", Role.OPERATOR)), ALL, "", 0, "role-not-admitted"
    ),
    "revoked, optionally": Case(
        _revoked, EITHER, "SSLV3_ALERT_CERTIFICATE_REVOKED", 44, "certificate-revoked"
    ),
    "other CA, optionally": Case(
        _other_ca, EITHER, "TLSV1_ALERT_UNKNOWN_CA", 48, "unknown-authority"
    ),
    "no identity, optionally": Case(_of(identity=None), EITHER, "", 0, "no-identity"),
}  # fmt: skip
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@EACH
def test_python_is_refused_with_the_alert_and_a_record(boundary: Boundary, case: Case) -> None:
    """A good request that is sent at once is never answered, called or recorded as a call."""
    request, calls = boundary.say(), boundary.calls()
    files = case.make(boundary)
    seen = len(boundary.connections())
    knock = boundary.knock(files, case.offset, request)
    assert knock.answer == b""
    assert knock.alert == (case.alert or "closed")
    record = boundary.next_connection(seen)
    assert (record["verdict"], record["reason"]) == ("refused", case.reason)
    assert record.get("proven", False) is (not case.alert)
    assert ("serial" in record) is ("subject" in record) is (files is not None)
    assert boundary.calls() == calls


@EACH
def test_openssl_is_refused_with_the_alert(boundary: Boundary, case: Case) -> None:
    """The same with `openssl s_client`, by the number of the alert."""
    request = boundary.say()
    files = case.make(boundary)
    seen = len(boundary.connections())
    said = boundary.s_client(files, case.offset, request)
    assert "HTTP/1.1" not in said
    assert (f"SSL alert number {case.number}" in said) is bool(case.number)
    assert boundary.next_connection(seen)["reason"] == case.reason


@pytest.mark.parametrize("offset", [ALL, SOME, EITHER])
def test_a_good_certificate_is_served(boundary: Boundary, offset: int) -> None:
    """With both clients; no record of the connection is made."""
    leaf, request, seen = (
        boundary.issue(forged.bd()),
        boundary.say(),
        len(boundary.connections()),
    )
    assert boundary.knock(leaf.files, offset, boundary.say("bd")).status == 200
    assert "HTTP/1.1 200" in boundary.s_client(leaf.files, offset, boundary.say("bd"))
    assert boundary.knock(leaf.files, offset, request).status == 401  # another crew's token
    assert len(boundary.connections()) == seen


def test_without_a_certificate_where_one_is_optional(boundary: Boundary) -> None:
    """A token is enough for what is everybody's, and for a tool of another crew it is not."""
    assert boundary.knock(None, EITHER, boundary.say()).status == 200
    assert "HTTP/1.1 200" in boundary.s_client(None, EITHER, boundary.say())


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_no_session_outlives_its_certificate(boundary: Boundary, how: str) -> None:
    """No ticket is ever given; what a client kept of a clean connection resumes nothing."""
    request = boundary.say("bd")
    life = {"life_seconds": 6} if how == "expired" else {}
    leaf = boundary.issue(forged.bd("bd-7"), **life)
    context = boundary.context(leaf.files)
    answer, session = _clean(boundary, context, request)
    assert answer.startswith(b"HTTP/1.1 200")
    assert not session.has_ticket
    if how == "revoked":
        boundary.run("ca", "revoke", leaf.entry.serial)
    else:
        _wait_for(leaf.entry.not_after)
    seen = len(boundary.connections())
    again = boundary.knock(None, ALL, request, context=context, session=session)
    assert again.answer == b""
    # Until a worker has read the new list, it refuses a revoked one by the table: without an alert.
    by_table = {"closed"} if how == "revoked" else set()
    assert again.alert in {f"SSLV3_ALERT_CERTIFICATE_{how.upper()}"} | by_table
    assert boundary.next_connection(seen)["reason"] == f"certificate-{how}"


def _clean(
    boundary: Boundary, context: ssl.SSLContext, request: str
) -> tuple[bytes, ssl.SSLSession]:
    """One request, a close_notify both ways, and what the client may keep of it."""
    with (
        socket.create_connection(("127.0.0.1", boundary.port + ALL), 20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(request.encode())
        answer = b""
        while data := secure.recv(65536):
            answer += data
        session = secure.session
        assert session is not None
        secure.unwrap()
    return answer, session


def _wait_for(second: int) -> None:
    while time.time() <= second + 1:
        time.sleep(0.05)


def test_openssl_keeps_no_session_either(boundary: Boundary) -> None:
    """`-sess_out` keeps what there is; `-sess_in` with it is a whole handshake, and refused."""
    leaf = boundary.issue(forged.bd("bd-8"))
    kept = boundary.folder / "session.pem"
    first = boundary.s_client(leaf.files, ALL, boundary.say("bd"), "-sess_out", str(kept))
    assert "HTTP/1.1 200" in first
    assert "New Session Ticket" not in first
    boundary.run("ca", "revoke", leaf.entry.serial)
    more = ["-sess_in", str(kept)] if kept.exists() else []
    again = boundary.s_client(leaf.files, ALL, boundary.say("bd"), *more)
    assert "Reused" not in again
    assert "HTTP/1.1" not in again
    assert "SSL alert number 44" in again


def test_a_connection_ends_with_its_certificate(boundary: Boundary) -> None:
    """One that is idle is closed; nobody sits out a short life on a long connection."""
    request = boundary.say("bd").replace("connection: close\r\n", "")
    leaf = boundary.issue(forged.bd("bd-6"), life_seconds=6)
    with (
        socket.create_connection(("127.0.0.1", boundary.port + ALL), 60) as plain,
        boundary.context(leaf.files).wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(request.encode())
        assert secure.recv(65536).startswith(b"HTTP/1.1 200")
        while secure.recv(65536):
            pass
    assert time.time() > leaf.entry.not_after
