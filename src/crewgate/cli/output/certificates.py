"""The output about certificates: sentences for people, JSON documents for scripts."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewgate.ca.certificate_db import CertificateRecord
from crewgate.cli.options import print_result
from crewgate.cli.output.revocation import receipt_document
from crewgate.cli.output.tables import open_console, print_table, table_of, utc
from crewgate.core.x509.certificate import serial_text
from crewgate.ipc.admin_messages import RevocationReceipt

if TYPE_CHECKING:
    from cryptography import x509


def status(entry: CertificateRecord, now: float, state: Path) -> str:
    """Return the status of a certificate in one word.

    It is the status in the register, or `evicted` for a gateway that the machines of the cluster
    have evicted.
    """
    from crewgate.gossip.member_certificate_store import was_evicted

    word = entry.status(now)
    is_evicted = word == "valid" and was_evicted(
        state, entry.role, entry.name, entry.issued, int(now)
    )
    return "evicted" if is_evicted else word


def row(entry: CertificateRecord, state: Path | None = None) -> dict[str, Any]:
    """Return everything about a certificate but its bytes; `state` is the state folder, if any."""
    now = datetime.now(UTC).timestamp()
    return {
        "serial": entry.serial,
        "role": entry.role.value,
        "crew": entry.crew,
        "name": entry.name,
        "branch": entry.named.branch,
        "status": status(entry, now, state) if state else entry.status(now),
        "reason": entry.reason,
        "issued": _time(entry.issued),
        "not_before": _time(entry.not_before),
        "not_after": _time(entry.not_after),
        "revoked": "" if entry.revoked is None else _time(entry.revoked),
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def print_list(entries: Sequence[CertificateRecord], now: float, state: Path) -> None:
    """Print a table of certificates for a person."""

    def words(entry: CertificateRecord) -> str:
        return status(entry, now, state) + (f" ({entry.reason})" if entry.reason else "")

    columns: dict[str, Callable[[CertificateRecord], str]] = {
        "serial": lambda entry: entry.serial,
        "holder": lambda entry: entry.label,
        "until (UTC)": lambda entry: utc(datetime.fromtimestamp(entry.not_after, UTC))[:16],
        "status": words,
    }
    print_table(open_console(), table_of(columns, entries))


def receipt(done: RevocationReceipt | None) -> dict[str, Any]:
    """Return the JSON members of a receipt; None means that no gateway runs here."""
    return {"announced": done is not None, **(receipt_document(done) if done else {})}


def describe(done: RevocationReceipt | None) -> str:
    """Return a sentence about a receipt; None means that no gateway runs here."""
    if done is None:
        return "no gateway runs here"
    if not done.connections_closed:
        return "no open connection used it"
    number = done.connections_closed
    connections = "connection" if number == 1 else "connections"
    return f"{number} open {connections} closed within {done.cut_ms:.1f} ms"


def print_entry(entry: CertificateRecord, text: str, *, as_json: bool) -> None:
    """Print a signed certificate; `text` says which file was written."""
    end = datetime.fromtimestamp(entry.not_after, UTC)
    signed = f"{entry.label}, serial {entry.serial}, until {end:%Y-%m-%d %H:%M}Z"
    print_result(row(entry), f"{text}: {signed}", as_json=as_json, err=True)


def print_server(leaf: "x509.Certificate", text: str, *, as_json: bool) -> None:
    """Print a signed server certificate, which is in no register."""
    serial, end = serial_text(leaf.serial_number), leaf.not_valid_after_utc
    document = {
        "serial": serial,
        "role": "server",
        "name": leaf.subject.rfc4514_string(),
        "not_before": _time(int(leaf.not_valid_before_utc.timestamp())),
        "not_after": _time(int(end.timestamp())),
    }
    signed = f"server certificate, serial {serial}, until {end:%Y-%m-%d %H:%M}Z"
    print_result(document, f"{text}: {signed}", as_json=as_json, err=True)
