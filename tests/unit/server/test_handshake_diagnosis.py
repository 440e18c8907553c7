"""Why a handshake failed, and which certificate it was about: read from whatever a client sends."""

import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.verdict import ConnectionRefusalReason
from crewgate.server.handshake_diagnosis import (
    CertificateCapturingSocket,
    failure_of,
    leaf_of,
    watch,
)


def message(*certificates: bytes, context: bytes = b"") -> bytes:
    """A Certificate message (RFC 8446, section 4.4.2)."""
    entries = b"".join(len(each).to_bytes(3) + each + b"\x00\x00" for each in certificates)
    body = bytes([len(context)]) + context + len(entries).to_bytes(3) + entries
    return b"\x0b" + len(body).to_bytes(3) + body


@given(
    st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=3), st.binary(max_size=255)
)
def test_the_first_certificate_is_found(certificates: list[bytes], context: bytes) -> None:
    """Whatever comes after it, and with any context."""
    assert leaf_of(message(*certificates, context=context)) == certificates[0]


@given(st.binary(max_size=200))
def test_odd_messages_have_none(data: bytes) -> None:
    """Nothing is raised, and nothing is read that is not there."""
    assert leaf_of(data) in data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_cut_message_has_none(certificate: bytes, data: st.DataObject) -> None:
    """A certificate is there as a whole or not at all."""
    whole = message(certificate)
    size = data.draw(st.integers(0, len(whole) - 3))
    assert leaf_of(whole[:size]) == b""


def test_nobody_showed_a_certificate() -> None:
    """An empty list."""
    assert leaf_of(message()) == b""


def _failed(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (10, ConnectionRefusalReason.EXPIRED),
        (9, ConnectionRefusalReason.NOT_YET_VALID),
        (23, ConnectionRefusalReason.REVOKED),
        (26, ConnectionRefusalReason.NO_CLIENT_USAGE),
        (20, ConnectionRefusalReason.UNKNOWN_AUTHORITY),
        (7, ConnectionRefusalReason.UNKNOWN_AUTHORITY),
        (3, ConnectionRefusalReason.STALE),
        (8, ConnectionRefusalReason.STALE),
        (12, ConnectionRefusalReason.STALE),
        (34, ConnectionRefusalReason.INVALID),
        (999, ConnectionRefusalReason.INVALID),
    ],
)
def test_each_code_of_openssl_has_its_word(code: int, reason: ConnectionRefusalReason) -> None:
    """What is not known is a certificate that is not valid, never a good one."""
    assert failure_of(_failed(code)) is reason


def test_other_failures_are_not_about_certificates() -> None:
    """But that there is none is."""
    error: Any = ssl.SSLError(1, "x")
    error.reason = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert failure_of(error) is ConnectionRefusalReason.NO_CERTIFICATE
    error.reason = "WRONG_VERSION_NUMBER"
    assert failure_of(error) is ConnectionRefusalReason.HANDSHAKE
    assert failure_of(ConnectionResetError()) is ConnectionRefusalReason.HANDSHAKE


def test_the_hook_is_there() -> None:
    """Python documents it for debugging only: a version without it would name no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    watch(context)
    assert context._msg_callback is not None  # type: ignore[attr-defined]
    assert CertificateCapturingSocket.offered_certificate == b""
