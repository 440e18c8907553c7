"""`crewgate init`: a folder with a configuration, a development authority and one crew's keys.

Writes into an empty or new folder only, the configuration last: a folder that has one is whole.
The secrets of CA, gateway and crew lie in folders of their own, each for its owner's eyes.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from crewgate.cli.commands.crew import write_crew
from crewgate.cli.init.machine_keys import begin, choose_name, write_machine
from crewgate.cli.init.template import CREW, DOMAIN, PORT_MAX, fresh_config
from crewgate.cli.options import json_option
from crewgate.config import CAConfig
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file, make_folder


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    default=8443,
    show_default=True,
    help="Where agents come in; the 3 ports above are kept, the tools' server is 10 above.",
)
@click.option(
    "--from",
    "other",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OTHER/crewgate.toml",
    help="Make a further machine of that one's trust domain, whose folder (CA, keys) can be read "
    "from here: another folder of its host, or a copy.",
)
@click.option(
    "--name",
    default="",
    metavar="NAME",
    callback=lambda _context, _option, value: _checked_name(value),
    help="What this machine is called: among members, in leases, audit and receipts.",
    show_default="the host's name",
)
@click.option("--ledger", "url", metavar="URL", help="Where all its machines keep budgets.")
@click.option(
    "--budgets",
    type=click.Choice(["per-machine"]),
    help="Let each branch spend its credits on each machine.",
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
    """Write a configuration, certificates and keys to start with.

    DIR is made, or is empty. It gets crewgate.toml; certs/ca.pem, the root that clients trust;
    ca/, gateway/ and crews/, whose keys are for three different users once this is more than a
    trial. With --from it gets the other's crews, tools and CA, and a certificate and ports of its
    own; the other may be serving.
    """
    if other is None:
        if url or budgets:
            raise click.UsageError("--ledger and --budgets go with --from")
        config = write_all(folder, port, name)
        told = [f"Wrote {config}; start it with: crewgate serve -c {config}"]
    else:
        config, told = write_further(
            folder, port, other, url, per_machine=bool(budgets), asked=name
        )
    if as_json:
        click.echo(json.dumps({"config": str(config), "ca": str(folder / "certs" / "ca.pem")}))
    else:
        click.echo("\n".join(told), err=True)


def write_all(folder: Path, port: int, asked: str = "") -> Path:
    """Write everything for a machine of the name that was asked for; the configuration's path.

    ConfigurationError says what is in the way; a part may have been written then.
    """
    try:
        _open(folder)
        name = choose_name(asked, ())
        _write_certificates(folder, name)
        write_crew(folder / "crews", CREW)
        begin(folder / "state")
        config = folder / "crewgate.toml"
        create_file(config, fresh_config(port, name).encode(), 0o644)
    except OSError as error:
        raise _unwritten(folder, error) from error
    return config


def write_further(
    folder: Path, port: int, other: Path, url: str | None, *, per_machine: bool, asked: str = ""
) -> tuple[Path, list[str]]:
    """Write a further machine; the path of its configuration, and what a person is told of it.

    ConfigurationError says what is in the way; a part may have been written then.
    """
    from crewgate.cli.init.cluster_section import gateway_names, gateways_besides
    from crewgate.cli.init.from_machine import DerivedConfig, changes, ledger_section, next_steps
    from crewgate.config.load import load
    from crewgate.lifecycle.decommission import authority_of

    first = load(other)
    ca = authority_of(first)
    section = ledger_section(first, url, per_machine=per_machine)
    gateways = gateways_besides(first, ca)
    name = choose_name(asked, gateway_names(first, ca))
    further = DerivedConfig(first, port, section, gateways, name)
    text = further.text()
    try:
        _open(folder, ("certs", "gateway", "crews"))
        write_machine(folder, ca, name)
        _copy(ca.root, folder / "certs" / "ca.pem")
        for file, place in further.copies.items():
            _copy(file, folder / place)
        config = folder / "crewgate.toml"
        create_file(config, text.encode(), 0o644)
    except OSError as error:
        raise _unwritten(folder, error) from error
    second = load(config)
    told = [f"Wrote {config}, made of {other}:"]
    told += [f"  {line}" for line in changes(first, second, further)]
    told.append("Next:")
    told += [f"  {line}" for line in next_steps(other, first, config, second, gateways)]
    return config, told


def _copy(file: Path, place: Path) -> None:
    """With its mode: a key stays a secret."""
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
    from crewgate.config.values import NAME

    try:
        return NAME.read(value) if value else ""
    except ValueError:
        raise click.BadParameter(f"expected {NAME.expected}") from None


def _write_certificates(folder: Path, name: str) -> None:
    from crewgate.ca.authority import create

    ca = CAConfig(folder / "ca", folder / "certs" / "ca.pem", folder / "certs" / "crl.pem", DOMAIN)
    create(ca, datetime.now(UTC))
    write_machine(folder, ca, name)
