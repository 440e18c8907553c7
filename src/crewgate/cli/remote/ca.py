"""`crewgate ca issue` and `ca revoke` through the control API of another machine.

A new private key is created here and stays here: only a certificate request leaves this machine.
"""

import time
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from crewgate.api import schemas
from crewgate.ca.authority import request_pem
from crewgate.ca.certificate_db import CertificateRecord
from crewgate.ca.certificates import identity_under_any_oid, new_key
from crewgate.ca.key_files import (
    PRIVATE,
    PUBLIC,
    key_pem,
    read_certificates,
    read_file,
    read_key,
    write_file,
)
from crewgate.ca.machine_cert_renewal import put, require_no_key
from crewgate.cli.ca_argument_checks import SERVER_ROLE, IssueOptions, require_absent, with_suffix
from crewgate.cli.options import print_result
from crewgate.cli.output import revocation
from crewgate.cli.output.certificates import describe, print_entry
from crewgate.cli.remote.client import ControlClient
from crewgate.cli.remote.revocation_receipt import receipt_of
from crewgate.cli.tokens import read_token
from crewgate.core.ids import EntityKind
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError
from crewgate.ipc import receipt_text

# The member `missing` of an answer, if no agent runs on the other machine (control/responses).
_NO_AGENT = ["this machine"]


def issue(client: ControlClient, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Issue PREFIX.pem and PREFIX.key, which must not exist; or renew our own certificate."""
    options = IssueOptions(**given)
    crew, request, life = options.crew, options.request, options.life
    if options.role is None and options.name is None and options.out is None:
        if any((crew, options.hosts, options.rights, options.signing_key, request, options.token)):
            raise click.UsageError(
                "without --role, --name and --out, only --life can change in our own certificate"
            )
        _renew(client, life, as_json=as_json)
        return
    for option, value in (
        ("--role server", options.role == SERVER_ROLE),
        ("--right", options.rights),
        ("--signing-key", options.signing_key),
    ):
        if value:
            raise click.UsageError(f"{option} is not for --control; use -c where the CA is")
    if options.role == Role.AGENT:
        token, out = options.required_for_branch()
        whose = {"branch_token": read_token(token)}
    else:
        _, name, out = options.required()
        whose = {"crew": crew, "name": name}
    certificate, private = with_suffix(out, "pem"), with_suffix(out, "key")
    require_absent(certificate, *([] if request else [private]))
    key = None if request else new_key()
    csr = request_pem(key) if key else read_file(request) if request else b""
    wanted = {
        "request": _text(csr, request),
        "role": options.role,
        "life_seconds": life,
        "hosts": options.hosts,
        **whose,
    }
    body = msgspec.convert(wanted, schemas.CertificateSigningRequest)
    answer = client.post("/v1/certificates", body, schemas.CertificateResponse)
    if key is not None:
        write_file(private, key_pem(key), PRIVATE)
    write_file(certificate, answer.certificate.encode(), PUBLIC)
    holder = identity_under_any_oid(read_certificates(certificate)[0])
    _print(answer, holder, certificate, as_json=as_json)


def _renew(client: ControlClient, life: int | None, *, as_json: bool) -> None:
    """Renew the certificate of --cert in its file, for the same key."""
    own, identity = client.credentials, client.credentials.identity()
    require_no_key(own.certificate)
    before = read_certificates(own.certificate)[0]
    body = schemas.CertificateSigningRequest(
        request=request_pem(read_key(own.key)).decode(), life_seconds=life
    )
    answer = client.post("/v1/certificates", body, schemas.CertificateResponse)
    chain = answer.certificate.encode()
    put(own.certificate, before, chain, time.time(), however_long=True)
    _print(answer, identity, own.certificate, as_json=as_json)


def _print(
    answer: schemas.CertificateResponse, holder: Identity, file: Path, *, as_json: bool
) -> None:
    entry = CertificateRecord(
        serial=answer.serial,
        role=holder.role,
        crew=holder.crew,
        name=holder.name,
        instance=holder.instance,
        not_before=answer.not_before,
        not_after=answer.not_after,
        issued=int(time.time()),
        pem=answer.certificate,
    )
    print_entry(entry, f"Wrote {file}", as_json=as_json)


def revoke(client: ControlClient, *, which: str, reason: Any, as_json: bool) -> None:  # noqa: ANN401
    """Revoke the certificate of a serial number or of a file."""
    serial = _serial(which)
    known = get_args(schemas.RevocationReason)
    if reason not in known:
        raise CAError(f"no reason {reason!r}; RFC 5280 has: {', '.join(sorted(known))}")
    body = schemas.RevocationRequest(certificate=serial, reason=reason)
    done = client.post("/v1/revocations", body, schemas.RevocationResponse)
    # An agent whose disk is full has applied the revocation all the same.
    is_announced = done.missing != _NO_AGENT
    receipt = receipt_of(done, EntityKind.CERTIFICATE)
    document = {
        "serial": done.id,
        "crew": done.crew,
        "status": "revoked",
        "reason": reason,
        "announced": is_announced,
        "calls_cut": done.calls_cut,
        "connections_closed": done.connections_closed,
        "cut_ms": done.cut_ms,
        "reach": msgspec.to_builtins(receipt.reach) if is_announced else None,
    }
    what = "no gateway runs there; it gets the revocation when it starts"
    lines = [f"revoked serial {done.id}: {describe(receipt) if is_announced else what}"]
    lines += receipt_text.reach_lines(receipt.reach) if is_announced else []
    print_result(document, "\n".join(lines), as_json=as_json)
    if is_announced:
        revocation.exit_by_reach(receipt.reach)


def _text(data: bytes, path: Path | None) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise CAError(f"{path}: not a certificate request in PEM") from error


def _serial(which: str) -> str:
    path = Path(which)
    if not path.suffix and not path.exists():
        return which
    return serial_text(read_certificates(path)[0].serial_number)
