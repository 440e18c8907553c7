"""`crewgate init`: creates a folder with a configuration, a development CA and one crew's keys.

The command writes only into a new or empty folder, and writes the configuration last: a folder that
has one is complete. CA, gateway and crew each have their secrets in a folder of their own.
"""

from datetime import UTC, datetime
from pathlib import Path

import click

from crewgate.ca.authority import configured_ca, create
from crewgate.cli.commands.crew import write_crew
from crewgate.cli.init.machine_keys import begin, choose_name, write_machine
from crewgate.cli.init.template import CREW, DOMAIN, PORT_MAX, fresh_config
from crewgate.cli.options import json_option, print_result
from crewgate.config import CAConfig
from crewgate.config.json_schema import SCHEMA_FILE, json_schema_text
from crewgate.config.load import load
from crewgate.config.values import NAME
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file, make_folder


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
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
    callback=lambda _context, _option, value: _checked_name(value),
    help="Name of this machine among members, in leases, audit and receipts.",
    show_default="the host's name",
)
@click.option(
    "--ledger", "url", metavar="URL", help="With --from: the ledger that all machines share."
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
    url: str | None,
    budgets: str | None,
    as_json: bool,
) -> None:
    """Create a configuration, certificates and keys for a new gateway.

    DIR must be new or empty. It gets crewgate.toml, crewgate.schema.json for editors, certs/ca.pem
    (the root that clients trust), and private keys in ca/, gateway/ and crews/. In production, run
    `crewgate serve` as a user who runs no code of a crew, and let only this user read these three
    folders.

    With --from, the machine gets the crews, tools and CA of the other machine, and a certificate,
    keys and ports of its own. The other machine may be running.
    """
    if other is None:
        if url or budgets:
            raise click.UsageError("--ledger and --budgets are only for --from")
        config = write_all(folder, port, name)
        lines = [f"Wrote {config}; start it with: crewgate serve -c {config}"]
    else:
        config, lines = write_further(
            folder, port, other, url, per_machine=bool(budgets), asked=name
        )
    document = {"config": str(config), "ca": str(folder / "certs" / "ca.pem")}
    print_result(document, "\n".join(lines), as_json=as_json, err=True)


def write_all(folder: Path, port: int, asked: str = "") -> Path:
    """Write everything for a first machine, and return the path of its configuration.

    `asked` is the name from --name; "" uses the host's name. Raises ConfigurationError if something
    is in the way; a part may then have been written.
    """
    try:
        _open(folder)
        name = choose_name(asked, ())
        _write_certificates(folder, name)
        write_crew(folder / "crews", CREW)
        begin(folder / "state")
        create_file(folder / SCHEMA_FILE, json_schema_text().encode(), 0o644)
        config = folder / "crewgate.toml"
        create_file(config, fresh_config(port, name).encode(), 0o644)
    except OSError as error:
        raise _unwritten(folder, error) from error
    return config


def write_further(
    folder: Path, port: int, other: Path, url: str | None, *, per_machine: bool, asked: str = ""
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
    section = ledger_section(first, url, per_machine=per_machine)
    gateways = gateways_besides(first, ca)
    name = choose_name(asked, gateway_names(first, ca))
    further = ConfigFromOther(first, port, section, gateways, name)
    text = further.text()
    try:
        _open(folder, ("certs", "gateway", "crews"))
        write_machine(folder, ca, name)
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


def _checked_name(value: str) -> str:
    try:
        return NAME.read(value) if value else ""
    except ValueError:
        raise click.BadParameter(f"expected {NAME.expected}") from None


def _write_certificates(folder: Path, name: str) -> None:
    ca = CAConfig(folder / "ca", folder / "certs" / "ca.pem", folder / "certs" / "crl.pem", DOMAIN)
    create(ca, datetime.now(UTC))
    write_machine(folder, ca, name)
