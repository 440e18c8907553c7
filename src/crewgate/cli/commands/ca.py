"""`crewgate ca`: issues, renews, lists and revokes certificates of the internal CA."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from crewgate import limits
from crewgate.ca.authority import Authority, configured_ca, create, new_instance, read_request
from crewgate.ca.certificate_db import CertificateDB, CertificateRecord
from crewgate.ca.certificates import new_key, pem
from crewgate.ca.key_files import PRIVATE, PUBLIC, key_pem, read_certificates, read_file, write_file
from crewgate.cli.ca_argument_checks import (
    SERVER_ROLE,
    IssueOptions,
    find,
    host_names,
    require_absent,
    with_suffix,
)
from crewgate.cli.options import (
    CREW_NAME,
    UntruncatedHelpGroup,
    config_option,
    json_option,
    life_option,
    print_problems,
    print_result,
)
from crewgate.cli.output.certificates import (
    describe,
    print_entry,
    print_list,
    print_server,
    receipt,
    row,
)
from crewgate.cli.remote.option import with_remote
from crewgate.cli.tokens import read_token
from crewgate.config import Config, load
from crewgate.core.ids import uuid_bytes
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError, CRLPublishError, ServiceConnectionError
from crewgate.ipc.admin_messages import RevocationReceipt
from crewgate.runtime.durable_files import cause, make_folder


@click.group("ca", cls=UntruncatedHelpGroup)
def command() -> None:
    """Issue, renew, list and revoke certificates of the internal CA.

    The commands work on the files of the CA, so run them as the owner of these files. The gateway
    need not run. If it runs, `revoke` also closes open connections at once. With --control, `issue`
    and `revoke` use the control API of another machine.
    """


@command.command("init")
@config_option
@json_option
def init(*, config_path: Path, as_json: bool) -> None:
    """Create root, issuing CA and an empty register where the configuration says."""
    ca = configured_ca(load(config_path))
    for folder in {ca.folder, ca.root.parent, ca.crl.parent}:
        try:
            make_folder(folder, 0o700 if folder == ca.folder else 0o755, parents=True)
        except OSError as error:
            raise CAError(f"{folder}: cannot be created: {cause(error)}") from error
    create(ca, datetime.now(UTC))
    text = f"Wrote {ca.root}; move {ca.root_key} off this machine"
    print_result({"root": str(ca.root), "crl": str(ca.crl)}, text, as_json=as_json, err=True)


@command.command("issue")
@with_remote("ca_issue")
@click.option(
    "--role",
    type=click.Choice([*(role.value for role in Role), SERVER_ROLE]),
    help="What the certificate is for. `server`: a listener or the control API; it names hosts and "
    "no holder, so that every TLS client can read it.",
)
@click.option(
    "--crew",
    type=CREW_NAME,
    metavar="CREW",
    default="",
    help="Crew of an orchestrator; other roles have none.",
)
@click.option("--name", metavar="NAME", help="Name of the holder within its crew or role.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PREFIX",
    help="Write PREFIX.pem and PREFIX.key.",
)
@life_option("Lifetime of the certificate (default: [ca] life_seconds; 397 days for a server).")
@click.option(
    "--host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="DNS name or IP address of a gateway or a server; repeat it for several.",
)
@click.option(
    "--right",
    "rights",
    metavar="RIGHT",
    multiple=True,
    help="Right of a gateway. `revoke`: other machines apply its revocations.",
)
@click.option(
    "--signing-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ed25519 key of a gateway, private or public, which verifies its revocations; created if "
    "FILE does not exist.",
)
@click.option(
    "--request",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CSR",
    help="Certify the key of this PEM certificate request; create no key.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    help="Newest token of the branch that a certificate of role agent is for, instead of --crew "
    "and --name; - reads it from stdin. The certificate ends with the token.",
)
@json_option
def issue(*, config_path: Path, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Issue a certificate.

    Writes PREFIX.pem (leaf, then issuing CA) and PREFIX.key; neither may exist. With --request, the
    holder has the key, and the command writes PREFIX.pem only.

    With --control, and without --role, --name and --out, the command renews the certificate of
    --cert for the same key. An orchestrator can also issue certificates of its own branches.
    """
    options = IssueOptions(**given)
    if options.role == SERVER_ROLE:
        _issue_server(config_path, options, as_json=as_json)
        return
    is_branch = options.role == Role.AGENT
    out = options.required_for_branch()[1] if is_branch else options.required()[2]
    config = load(config_path)
    certificate, private = with_suffix(out, "pem"), with_suffix(out, "key")
    require_absent(certificate, *([] if options.request else [private]))
    key = None
    if options.request is not None:
        public = read_request(read_file(options.request))
    else:
        key = new_key()
        public = key.public_key()
    identity, until = (_branch if is_branch else _holder)(config, options)
    now, hosts = datetime.now(UTC), host_names(options.hosts)
    with Authority(configured_ca(config)) as authority:
        entry = authority.issue(
            identity, public, now, life_seconds=options.life, hosts=hosts, until=until
        )
        if key is not None:
            write_file(private, key_pem(key), PRIVATE)
        write_file(certificate, authority.chain(entry), PUBLIC)
    print_entry(entry, f"Wrote {certificate}", as_json=as_json)


@command.command("renew")
@config_option
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@life_option(
    "Lifetime of the new certificate (default: [ca] life_seconds; for a gateway or a listener, the "
    "lifetime of the previous one)."
)
@json_option
def renew(*, config_path: Path, certificate: Path, life: int | None, as_json: bool) -> None:
    """Renew a certificate in its file, for the same key and the same names.

    This also renews the listener certificates of `crewgate init`. The previous certificate stays
    valid until it ends. A running gateway renews its own certificates by itself, and loads a
    changed file.
    """
    from crewgate.ca.machine_cert_renewal import next_chain, put, require_no_key

    with Authority(configured_ca(load(config_path))) as authority:
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
@click.option("--reason", default="unspecified", show_default=True, help="Reason as in RFC 5280.")
@json_option
def revoke(*, config_path: Path, which: str, reason: str, as_json: bool) -> None:
    """Revoke a certificate, and close every connection that uses it.

    The revocation goes into the CRL, the OCSP answers and the tables of running gateways. Nobody
    can undo it. Exit status 3: a gateway runs here, and less than a majority of the machines has
    the revocation on disk so far; this machine keeps sending it.
    """
    from crewgate.cli.output.revocation import exit_by_reach
    from crewgate.ipc.receipt_text import reach_lines

    config = load(config_path)
    with Authority(configured_ca(config)) as authority:
        entry = find(authority.register, which)
        unpublished, others = None, 0
        try:
            ended = authority.revoke([entry.serial], reason, datetime.now(UTC))
            others = sum(each.serial != entry.serial for each in ended)
        except CRLPublishError as error:
            # Open connections must be closed all the same.
            unpublished = error
            others = sum(serial != entry.serial for serial in error.serials)
        done, why = _announce(authority, config, entry)
        entry = authority.register.find(entry.serial) or entry
        unwritten = authority.register.unwritten_reason
    document = {**row(entry), **receipt(done), "unwritten": unwritten}
    also = f" and {others} more of the same instance" if others else ""
    lines = [f"revoked {entry.label}, serial {entry.serial}{also}: {describe(done)}"]
    lines += reach_lines(done.reach) if done else []
    print_result(document, "\n".join(lines), as_json=as_json)
    if why:
        print_problems(
            f"{why}; once the gateway runs, repeat the command to close open connections"
        )
    if unwritten:
        where = "the gateway refuses the certificate" if done else "no gateway knows of it"
        raise CAError(
            f"{where}, but the register could not be written, so the CA may still renew it: "
            f"{unwritten}; repeat the command when the register can be written"
        )
    if unpublished is not None:
        raise unpublished
    if done is not None:
        exit_by_reach(done.reach)


@command.command("list")
@config_option
@click.option("--all", "is_all", is_flag=True, help="Also show expired certificates.")
@json_option
def list_(*, config_path: Path, is_all: bool, as_json: bool) -> None:
    """List the issued certificates, oldest first.

    A gateway that `crewgate cluster evict` evicted has the status evicted, if this machine knows.
    """
    now, config = datetime.now(UTC).timestamp(), load(config_path)
    with CertificateDB(configured_ca(config).register) as register:
        entries = [each for each in register.all() if is_all or each.status(now) != "expired"]
    if entries and not as_json:
        print_list(entries, now, config.state)
        return
    text = "no valid certificate; issue one with: crewgate ca issue"
    document = [row(entry, config.state) for entry in entries]
    print_result(document, text, as_json=as_json, err=True)


@command.command("show")
@config_option
@click.argument("which", metavar="PREFIX.pem|SERIAL")
@json_option
def show(*, config_path: Path, which: str, as_json: bool) -> None:
    """Show one certificate: its holder, its end and its status."""
    config = load(config_path)
    with CertificateDB(configured_ca(config).register) as register:
        entry = find(register, which)
    members = row(entry, config.state)
    known = [(name, value) for name, value in members.items() if value != ""]
    text = "\n".join(f"{name:10} {value}" for name, value in known)
    print_result({**members, "pem": entry.pem}, text, as_json=as_json)


@command.command("crl")
@config_option
@json_option
def crl(*, config_path: Path, as_json: bool) -> None:
    """Sign a new list of revoked certificates (CRL); gateways read it within a second."""
    ca = configured_ca(load(config_path))
    with Authority(ca) as authority:
        authority.publish(datetime.now(UTC))
    print_result({"crl": str(ca.crl)}, f"Wrote {ca.crl}", as_json=as_json, err=True)


@command.command("export")
@config_option
@json_option
def export(*, config_path: Path, as_json: bool) -> None:
    """Print root and issuing CA as PEM, for gateways and clients that are to trust this CA."""
    ca = configured_ca(load(config_path))
    texts = {
        name: "".join(pem(each).decode() for each in read_certificates(path))
        for name, path in (("root", ca.root), ("issuing", ca.issuing))
    }
    click.echo(json.dumps(texts) if as_json else "".join(texts.values()), nl=as_json)


def _holder(config: Config, options: IssueOptions) -> tuple[Identity, None]:
    """Return the identity of a process; its certificate has the usual lifetime."""
    from crewgate.ca.member_signing_key import certified_half

    role, name, _ = options.required()
    if options.crew:
        config.crew(options.crew)
    signer = b"" if options.signing_key is None else certified_half(options.signing_key)
    return Identity(role, name, new_instance(), options.crew, signer, options.rights), None


def _branch(config: Config, options: IssueOptions) -> tuple[Identity, int]:
    """Return the identity of the agent of a token's branch, and when the token expires (epoch).

    The command does not ask what is revoked: gateways refuse the certificate of a revoked branch.
    """
    from crewgate.control.token_reader import TokenReader

    token, _ = options.required_for_branch()
    found = TokenReader(config).read(read_token(token))
    if found is None:
        raise CAError("--token: gateways do not accept this token; show the newest of the branch")
    claims = found[0]
    crew, _, name = claims.client_id.partition("/")
    if crew != claims.crew:
        raise CAError("--token: its orchestrator is not of its crew")
    return Identity(Role.AGENT, name, uuid_bytes(claims.execution_branch_id), crew), claims.exp


def _issue_server(config_path: Path, options: IssueOptions, *, as_json: bool) -> None:
    hosts, out = options.required_for_server()
    certificate, private = with_suffix(out, "pem"), with_suffix(out, "key")
    require_absent(certificate, private)
    life = limits.gateway_life_seconds_max if options.life is None else options.life
    with Authority(configured_ca(load(config_path))) as authority:
        made = authority.issue_server(host_names(hosts), datetime.now(UTC), life)
        write_file(private, made.key_pem, PRIVATE)
        write_file(certificate, made.certificate_pem + authority.issuing.certificate_pem, PUBLIC)
    print_server(made.certificate, f"Wrote {certificate}", as_json=as_json)


def _announce(
    authority: Authority, config: Config, entry: CertificateRecord
) -> tuple["RevocationReceipt | None", str]:
    """Have the running gateway revoke the certificate; return its receipt, or None and why not.

    Earlier revocations that the gateway has not confirmed go along: it may not have run then.
    """
    from crewgate.ca.revocation_propagation import announce

    entries = {each.serial: each for each in [entry, *authority.register.pending()]}
    try:
        return announce(authority.register, config.state, list(entries.values())), ""
    except ServiceConnectionError as error:
        return None, str(error)
