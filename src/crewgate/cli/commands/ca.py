"""`crewgate ca`: the internal CA, by whoever may read its key."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.ca_arguments import find, host_names, require_absent, required, with_suffix
from crewgate.cli.options import DurationParam, Subcommands, config_option, json_option
from crewgate.cli.output.certificates import describe, line, print_entry, print_server, receipt, row
from crewgate.cli.remote.option import with_remote
from crewgate.core.x509.identity import Identity, Role
from crewgate.errors import AuthorityError, ConfigurationError, CRLPublishError, LinkError
from crewgate.runtime.durable_files import cause, make_folder

if TYPE_CHECKING:
    from crewgate.ca.authority import Authority
    from crewgate.ca.certificate_db import CertificateRecord
    from crewgate.config import CAConfig, Config
    from crewgate.ipc.admin_messages import RevocationReceipt


@click.group("ca", cls=Subcommands)
def command() -> None:
    """Make certificates, revoke them, and say what there is.

    Works on the files of the CA, so it needs their owner's rights, and no running gateway. With
    one, what is revoked is closed at once. `issue` and `revoke` can ask a control API instead.
    """


@command.command("init")
@config_option
@json_option
def init(*, config_path: Path, as_json: bool) -> None:
    """Make root, issuing CA and an empty register where the configuration says."""
    from crewgate.ca.authority import create

    ca = _ca(_load(config_path))
    for folder in {ca.folder, ca.root.parent, ca.crl.parent}:
        try:
            make_folder(folder, 0o700 if folder == ca.folder else 0o755, parents=True)
        except OSError as error:
            raise AuthorityError(f"{folder}: cannot be made: {cause(error)}") from error
    create(ca, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({"root": str(ca.root), "crl": str(ca.crl)}))
    else:
        click.echo(f"Wrote {ca.root}; keep {ca.root_key} off this machine", err=True)


@command.command("issue")
@with_remote("ca_issue")
@click.option("--role", type=click.Choice([role.value for role in Role]))
@click.option("--crew", metavar="CREW", default="", help="Of an orchestrator.")
@click.option("--name", help="Of the process, within its crew or role.")
@click.option("--out", type=click.Path(path_type=Path), metavar="PREFIX")
@click.option("--life", type=DurationParam(), metavar="4h", help="Else as the configuration says.")
@click.option("--host", "hosts", multiple=True, help="DNS name or IP address of a gateway.")
@click.option("--right", "rights", multiple=True, help="Of a gateway: `revoke`; others obey it.")
@click.option(
    "--signing-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Of a gateway: the Ed25519 key, private or public, that its revocations are verified by; "
    "made if there is none.",
)
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CSR",
    help="A PEM request: its key is certified, and no key is made here.",
)
@json_option
def issue(
    *,
    config_path: Path,
    role: str | None,
    crew: str,
    name: str | None,
    out: Path | None,
    life: int | None,
    hosts: tuple[str, ...],
    rights: tuple[str, ...],
    signing_key: Path | None,
    request: Path | None,
    as_json: bool,
) -> None:
    """Sign a certificate.

    Writes PREFIX.pem (leaf, then issuing CA) and PREFIX.key, which must not be there yet. With
    --control and neither --role, --name nor --out, the next one for the key of --cert takes the
    place of that certificate.
    """
    from crewgate.ca.authority import Authority, new_instance, read_request
    from crewgate.ca.certificates import new_key
    from crewgate.ca.gateway_signing_key import certified_half
    from crewgate.ca.key_files import PRIVATE, PUBLIC, key_pem, read_file, write_file

    role, name, out = required(role, name, out)
    if signing_key is not None and role != Role.GATEWAY:
        raise click.UsageError("--signing-key: only a gateway's certificate has one")
    config = _load(config_path)
    if crew:
        config.crew(crew)
    require_absent(with_suffix(out, "pem"), *([] if request else [with_suffix(out, "key")]))
    key = None
    if request is not None:
        public = read_request(read_file(request))
    else:
        key = new_key()
        public = key.public_key()
    signs = b"" if signing_key is None else certified_half(signing_key)
    identity = Identity(Role(role), name, new_instance(), crew, signs, rights)
    with Authority(_ca(config)) as authority:
        entry = authority.issue(
            identity, public, datetime.now(UTC), life_seconds=life, hosts=host_names(hosts)
        )
        if key is not None:
            write_file(with_suffix(out, "key"), key_pem(key), PRIVATE)
        write_file(with_suffix(out, "pem"), authority.chain(entry), PUBLIC)
    print_entry(entry, f"Wrote {with_suffix(out, 'pem')}", as_json=as_json)


@command.command("renew")
@config_option
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--life",
    type=DurationParam(),
    metavar="4h",
    help="Else as the configuration says, or of a gateway as long as the one before.",
)
@json_option
def renew(*, config_path: Path, certificate: Path, life: int | None, as_json: bool) -> None:
    """Sign the next certificate for the same key and the same names, in place of the file.

    Also of a listener, as `crewgate init` makes them. The one before stays good until it ends. A
    running gateway renews its own by itself, and takes the file up.
    """
    from crewgate.ca.authority import Authority
    from crewgate.ca.key_files import read_certificates
    from crewgate.ca.renewal import next_chain, put, require_no_key
    from crewgate.core.x509.certificate import serial_text

    with Authority(_ca(_load(config_path))) as authority:
        require_no_key(certificate)
        before, now = read_certificates(certificate)[0], datetime.now(UTC)
        chain = next_chain(authority, before, now, life)
        leaf = put(certificate, before, chain, now.timestamp(), however_long=True)
        entry = authority.register.find(serial_text(leaf.serial_number))
    if entry is not None:
        print_entry(entry, f"Wrote {certificate}", as_json=as_json)
    else:
        print_server(leaf, f"Wrote {certificate}", as_json=as_json)


@command.command("revoke")
@with_remote("ca_revoke")
@click.argument("which", metavar="PREFIX.pem|SERIAL")
@click.option("--reason", default="unspecified", show_default=True, help="As RFC 5280 names it.")
@json_option
def revoke(*, config_path: Path, which: str, reason: str, as_json: bool) -> None:
    """Revoke a certificate: in the CRL and OCSP, in the table, and close what is open with it.

    There is no way back. Exit status 3: a gateway runs here, and no majority of the machines has it
    on disk so far; it goes on being told.
    """
    from crewgate.ca.authority import Authority
    from crewgate.cli.output.revocation import end, reached

    config = _load(config_path)
    with Authority(_ca(config)) as authority:
        entry = find(authority.register, which)
        unpublished, others = None, 0
        try:
            ended = authority.revoke([entry.serial], reason, datetime.now(UTC))
            others = sum(each.serial != entry.serial for each in ended)
        except CRLPublishError as error:
            unpublished = error  # all the more must what is open be closed
            others = sum(serial != entry.serial for serial in error.serials)
        done, why = _announce(authority, config, entry)
        entry = authority.register.find(entry.serial) or entry
        unwritten = authority.register.unwritten_reason
    if as_json:
        click.echo(json.dumps({**row(entry), **receipt(done), "unwritten": unwritten}))
    else:
        also = f" and {others} more of the same life" if others else ""
        click.echo(f"revoked {entry.label}, serial {entry.serial}{also}: {describe(done)}")
        for each in reached(done.reach) if done else ():
            click.echo(each)
    if why:
        click.echo(f"crewgate: {why}; ask again once it runs, to close what is open", err=True)
    if unwritten:
        where = "the gateway refuses it" if done else "nothing knows of it"
        raise AuthorityError(
            f"{where}, and the register could not be written: say it again when it can be, or the "
            f"certificate is renewed as one that is good; {unwritten}"
        )
    if unpublished is not None:
        raise unpublished
    if done is not None:
        end(done.reach)


@command.command("list")
@config_option
@click.option("--all", "is_all", is_flag=True, help="Expired ones too.")
@json_option
def list_(*, config_path: Path, is_all: bool, as_json: bool) -> None:
    """Show the certificates that were issued, oldest first.

    A gateway that `crewgate cluster evict` has evicted is so called, as far as this machine knows.
    """
    from crewgate.ca.certificate_db import CertificateDB

    now, config = datetime.now(UTC).timestamp(), _load(config_path)
    with CertificateDB(_ca(config).register) as register:
        entries = [each for each in register.all() if is_all or each.status(now) != "expired"]
    if as_json:
        click.echo(json.dumps([row(entry, config.state) for entry in entries]))
        return
    for entry in entries:
        click.echo(line(entry, now, config.state))
    if not entries:
        click.echo("no certificate is valid; make one with: crewgate ca issue", err=True)


@command.command("show")
@config_option
@click.argument("which", metavar="PREFIX.pem|SERIAL")
@json_option
def show(*, config_path: Path, which: str, as_json: bool) -> None:
    """Show one certificate: whom it speaks for, until when, and whether it is good."""
    from crewgate.ca.certificate_db import CertificateDB

    config = _load(config_path)
    with CertificateDB(_ca(config).register) as register:
        entry = find(register, which)
    if as_json:
        click.echo(json.dumps({**row(entry, config.state), "pem": entry.pem}))
        return
    for name, value in row(entry, config.state).items():
        click.echo(f"{name:10} {value}")


@command.command("crl")
@config_option
@json_option
def crl(*, config_path: Path, as_json: bool) -> None:
    """Sign the list of revoked certificates anew; gateways read it within a second."""
    from crewgate.ca.authority import Authority

    ca = _ca(_load(config_path))
    with Authority(ca) as authority:
        authority.publish(datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({"crl": str(ca.crl)}))
    else:
        click.echo(f"Wrote {ca.crl}", err=True)


@command.command("export")
@config_option
@json_option
def export(*, config_path: Path, as_json: bool) -> None:
    """Print root and issuing CA as PEM: what another gateway or a client needs to trust this CA."""
    from crewgate.ca.certificates import pem
    from crewgate.ca.key_files import read_certificates

    ca = _ca(_load(config_path))
    texts = {
        name: "".join(pem(each).decode() for each in read_certificates(path))
        for name, path in (("root", ca.root), ("issuing", ca.issuing))
    }
    click.echo(json.dumps(texts) if as_json else "".join(texts.values()), nl=as_json)


def _load(config_path: Path) -> "Config":
    from crewgate.config import load

    return load(config_path)


def _ca(config: "Config") -> "CAConfig":
    if config.ca is None:
        raise ConfigurationError(
            f"{config.path}: there is no [ca]; add the section with its trust_domain"
        )
    return config.ca


def _announce(
    authority: "Authority", config: "Config", entry: "CertificateRecord"
) -> tuple["RevocationReceipt | None", str]:
    """Have the running gateway close what is open; or why it could not be told.

    What it has not heard of before is told too: it may have been away.
    """
    from crewgate.ca.propagation import announce

    entries = {each.serial: each for each in [entry, *authority.register.pending()]}
    try:
        return announce(authority.register, config.state, list(entries.values())), ""
    except LinkError as error:
        return None, str(error)
