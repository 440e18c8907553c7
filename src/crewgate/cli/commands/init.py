"""`crewgate init`: creates a folder with a configuration, a development CA and one crew's keys.

The command writes only into a new or empty folder, and writes the configuration last: a folder that
has one is complete. CA, gateway and crew each have their secrets in a folder of their own.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from crewgate.ca.authority import configured_ca, create
from crewgate.cli.commands.crew import write_crew
from crewgate.cli.init.machine_keys import begin, choose_name, write_machine
from crewgate.cli.init.template import (
    CREW,
    DOMAIN,
    LEDGER,
    PORT_MAX,
    LedgerKeys,
    fresh_config,
)
from crewgate.cli.options import FOLDER, json_option, print_result
from crewgate.config import CAConfig, HostPort
from crewgate.config.cluster import PEER
from crewgate.config.json_schema import SCHEMA_FILE, json_schema_text
from crewgate.config.ledger import is_server
from crewgate.config.load import load
from crewgate.config.toml_table_reader import ValueParser
from crewgate.config.values import HOST_NAME, NAME
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file, make_folder

_T = TypeVar("_T")


@click.command("init")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    default=8443,
    show_default=True,
    help="Port for AI agents; the next 4 ports are used too, and the tool server is 10 above.",
)
@click.option(
    "--from",
    "other",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OTHER/crewgate.toml",
    help="Create a further machine of the trust domain of this other machine. Its folder (CA, "
    "keys) must be readable here: on the same host, or as a copy.",
)
@click.option(
    "--name",
    default="",
    metavar="NAME",
    callback=lambda _context, _option, value: _checked(NAME, value) if value else "",
    help="Name of this machine among members, in leases, audit and receipts.",
    show_default="the host's name",
)
@click.option(
    "--host",
    "hosts",
    metavar="HOST",
    multiple=True,
    callback=lambda _context, _option, value: tuple(_checked(HOST_NAME, each) for each in value),
    help="DNS name or IP address at which other hosts reach this machine; repeat it for more. The "
    "machine listens on all addresses, its certificates have these names, and the first one is "
    "told to other machines.",
)
@click.option(
    "--remote-admin",
    is_flag=True,
    help="Without --from: let other hosts reach /livez, /readyz and /metrics. Protect this port: "
    "it asks for no certificate and no token.",
)
@click.option(
    "--peer",
    "peers",
    metavar="HOST:PORT",
    multiple=True,
    callback=lambda _context, _option, value: tuple(_checked(PEER, each) for each in value),
    help="Without --from: address of another machine that will exist; repeat it for more.",
)
@click.option("--ledger", "url", metavar="URL", help="PostgreSQL database that all machines share.")
@click.option(
    "--password-file",
    metavar="FILE",
    default="",
    help="With --ledger: file that has the password when the machine starts.",
)
@click.option(
    "--budgets",
    type=click.Choice(["per-machine"]),
    help="With --from: let each branch spend its credits on each machine.",
)
@json_option
def command(
    *,
    folder: Path,
    port: int,
    other: Path | None,
    name: str,
    hosts: tuple[str, ...],
    remote_admin: bool,
    peers: tuple[HostPort, ...],
    url: str | None,
    password_file: str,
    budgets: str | None,
    as_json: bool,
) -> None:
    """Create a configuration, certificates and keys for a new gateway.

    DIR must be new or empty. It gets crewgate.toml, crewgate.schema.json for editors, certs/ca.pem
    (the root that clients trust), and private keys in ca/, gateway/ and crews/. In production, run
    `crewgate serve` as a user who runs no code of a crew, and let only this user read these three
    folders.

    With --from, the machine gets the crews, tools and CA of the other machine, and a certificate,
    keys and ports of its own. The other machine may be running. With --from and --host, DIR has
    every file that the machine needs, so DIR can move to its host.
    """
    if password_file and not url:
        raise click.UsageError("--password-file goes only with --ledger")
    if url:
        _require_server(url)
    if other is None:
        if budgets:
            raise click.UsageError("--budgets is only for --from")
        ledger = LedgerKeys(url, password_file) if url else LEDGER
        config = write_all(
            folder, port, name,
            hosts=hosts, remote_admin=remote_admin, peers=peers, ledger=ledger,
        )  # fmt: skip
        lines = [f"Wrote {config}; start it with: crewgate serve -c {config}"]
    else:
        if peers or remote_admin:
            raise click.UsageError(
                "--peer and --remote-admin are only for a machine without --from"
            )
        config, lines = write_further(
            folder, port, other, url,
            per_machine=bool(budgets), password_file=password_file, asked=name, hosts=hosts,
        )  # fmt: skip
    document = {"config": str(config), "ca": str(folder / "certs" / "ca.pem")}
    print_result(document, "\n".join(lines), as_json=as_json, err=True)


def write_all(
    folder: Path,
    port: int,
    asked: str = "",
    *,
    hosts: Sequence[str] = (),
    remote_admin: bool = False,
    peers: Sequence[HostPort] = (),
    ledger: LedgerKeys = LEDGER,
) -> Path:
    """Write everything for a first machine, and return the path of its configuration.

    `asked` is the name from --name; "" uses the host's name. The others are the values of --host,
    --remote-admin, --peer, --ledger and --password-file. Raises ConfigurationError if something is
    in the way; a part may then have been written.
    """
    try:
        _open(folder)
        name = choose_name(asked, ())
        _write_certificates(folder, name, hosts)
        write_crew(folder / "crews", CREW)
        begin(folder / "state")
        create_file(folder / SCHEMA_FILE, json_schema_text().encode(), 0o644)
        config = folder / "crewgate.toml"
        text = fresh_config(
            port, name,
            host=hosts[0] if hosts else "", remote_admin=remote_admin, peers=peers, ledger=ledger,
        )  # fmt: skip
        create_file(config, text.encode(), 0o644)
    except OSError as error:
        raise _unwritten(folder, error) from error
    return config


def write_further(
    folder: Path,
    port: int,
    other: Path,
    url: str | None,
    *,
    per_machine: bool,
    password_file: str = "",
    asked: str = "",
    hosts: Sequence[str] = (),
) -> tuple[Path, list[str]]:
    """Write a further machine; return the path of its configuration, and lines for the terminal.

    Raises ConfigurationError if something is in the way; a part may then have been written.
    """
    from crewgate.cli.init.cluster_section import gateway_names, gateways_besides
    from crewgate.cli.init.config_from_other import (
        ConfigFromOther,
        changes,
        ledger_section,
        next_steps,
    )

    first = load(other)
    ca = configured_ca(first)
    section = ledger_section(first, url, per_machine=per_machine, password_file=password_file)
    gateways = gateways_besides(first, ca)
    name = choose_name(asked, gateway_names(first, ca))
    further = ConfigFromOther(first, port, section, gateways, name, hosts[0] if hosts else "")
    text = further.text()
    try:
        _open(folder, ("certs", "gateway", "crews"))
        write_machine(folder, ca, name, hosts)
        _copy(ca.root, folder / "certs" / "ca.pem")
        for file, place in further.copies.items():
            _copy(file, folder / place)
        create_file(folder / SCHEMA_FILE, json_schema_text().encode(), 0o644)
        config = folder / "crewgate.toml"
        create_file(config, text.encode(), 0o644)
    except OSError as error:
        raise _unwritten(folder, error) from error
    second = load(config)
    lines = [f"Wrote {config}, derived from {other}:"]
    lines += [f"  {line}" for line in changes(first, second, further)]
    lines.append("Next:")
    lines += [f"  {line}" for line in next_steps(other, first, config, second, gateways)]
    return config, lines


def _copy(file: Path, place: Path) -> None:
    """Copy a file with its mode, so that a key stays secret."""
    data, mode = file.read_bytes(), file.stat().st_mode & 0o777
    make_folder(place.parent, 0o700 if mode & 0o077 == 0 else 0o755, parents=True)
    create_file(place, data, mode)


def _unwritten(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{error.filename or folder}: cannot be read or written: {cause(error)}; `init` needs a "
        "folder where you may write, and, with --from, the right to read the other's keys"
    )


def _open(folder: Path, names: tuple[str, ...] = ("certs", "ca", "gateway", "crews")) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError(
            f"{folder}: not empty, and init overwrites nothing; choose another folder or empty it"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder}: not a folder; choose another name")
    make_folder(folder, 0o755, parents=True)
    for name in names:
        make_folder(folder / name, 0o700 if name in {"ca", "gateway"} else 0o755)


def _require_server(url: str) -> None:
    """Raise ConfigurationError unless `url` names a PostgreSQL server, and no password."""
    if url.startswith("sqlite:"):
        raise ConfigurationError(
            f"--ledger {url}: machines cannot share a file; name a postgresql://… server"
        )
    if not is_server(url):
        raise ConfigurationError(
            "--ledger: expected postgresql://USER@HOST/DATABASE, without a password; write that "
            "into a file, and name the file with --password-file"
        )


def _checked(parser: ValueParser[_T], value: str) -> _T:
    try:
        return parser.read(value)
    except ValueError:
        raise click.BadParameter(f"expected {parser.expected}") from None


def _write_certificates(folder: Path, name: str, hosts: Sequence[str]) -> None:
    ca = CAConfig(folder / "ca", folder / "certs" / "ca.pem", folder / "certs" / "crl.pem", DOMAIN)
    create(ca, datetime.now(UTC))
    write_machine(folder, ca, name, hosts)
