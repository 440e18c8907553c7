"""Reads what a renewal takes over from the certificate before."""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from crewgate.ca.authority import read_request
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.errors import CAError


def server_of(request: str, before: str, now: datetime) -> x509.Certificate:
    """Return the certificate; CAError if it has expired or the request has another key."""
    public = read_request(request.encode())
    try:
        leaf = x509.load_pem_x509_certificate(before.encode())
        is_its_key = leaf.public_key() == public
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CAError("renews: not a PEM certificate with a known kind of key") from error
    if not is_its_key:
        raise CAError("renews: the request is for another key than the certificate")
    if leaf.not_valid_after_utc < now:
        raise CAError("renews: the certificate has expired; renew it where the CA is")
    return leaf


def life_of(entry: CertificateRecord) -> int:
    """Return the lifetime in seconds, without the time that the certificate is backdated."""
    return entry.not_after - entry.issued


def hosts_of(entry: CertificateRecord) -> list[x509.GeneralName]:
    """Return the names and addresses of a certificate, which its successor gets too."""
    leaf = x509.load_pem_x509_certificate(entry.pem.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name for name in names if not isinstance(name, x509.UniformResourceIdentifier)]
