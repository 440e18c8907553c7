"""The list of the revoked: what it says, judged by `cryptography`."""

from datetime import UTC, datetime, timedelta

import forged_certificates
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from crewgate import limits
from crewgate.ca.certificates import make_root
from crewgate.ca.crl import REASONS, make_crl

ISSUING = forged_certificates.other_issuing()
NOW = datetime(2026, 11, 26, 12, 0, 0, 999, tzinfo=UTC)


def _list(*dead: tuple[str, int, str]) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(make_crl(ISSUING, dead, 7, NOW))


def test_an_empty_list_is_signed_and_fresh_for_a_day() -> None:
    """Without it OpenSSL would refuse everybody."""
    crl = _list()
    assert len(crl) == 0
    assert crl.is_signature_valid(ISSUING.certificate.public_key())  # type: ignore[arg-type]
    assert crl.issuer == ISSUING.certificate.subject
    start = NOW.replace(microsecond=0)
    assert crl.last_update_utc == start - timedelta(seconds=limits.certificate_backdate_seconds)
    assert crl.next_update_utc == start + timedelta(seconds=limits.crl_seconds)
    assert not any(extension.critical for extension in crl.extensions)
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value
    assert number.crl_number == 7


@pytest.mark.parametrize("reason", ["", *REASONS])
def test_an_entry_is_a_serial_and_a_time(reason: str) -> None:
    """Each handshake hashes the whole list: reasons are the register's, the audit's and OCSP's."""
    (entry,) = _list(("AB12", 1_700_000_000, reason))
    assert entry.serial_number == 0xAB12
    assert entry.revocation_date_utc == datetime.fromtimestamp(1_700_000_000, UTC)
    assert len(entry.extensions) == 0


def test_ten_thousand_take_300_kilobytes() -> None:
    """By which the bound on a handshake beside them holds."""
    serial = make_root(NOW).certificate.serial_number
    dead = [(f"{serial + number:X}", 1_700_000_000, "superseded") for number in range(10_000)]
    assert len(_list(*dead).public_bytes(Encoding.DER)) < 300_000


def test_no_reason_can_be_taken_back() -> None:
    """No hold, nothing of authorities or deltas."""
    assert not {"certificateHold", "removeFromCRL", "cACompromise", "aACompromise"} & set(REASONS)
