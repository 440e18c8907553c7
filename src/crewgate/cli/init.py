"""`crewgate init`: a folder with a configuration, a development authority and one crew's keys.

Writes into an empty or new folder only, the configuration last: a folder that has one is whole.
The secrets of CA, gateway and crew lie in folders of their own, each for its owner's eyes.
"""

import json
import os
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import click

from crewgate.cli.crew import write_crew
from crewgate.cli.fresh import CREW, DOMAIN, PORT_MAX, fresh_config
from crewgate.cli.options import json_option
from crewgate.config import CA
from crewgate.errors import ConfigurationError

NAMES = ("localhost",)
ADDRESSES = ("127.0.0.1", "::1")


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    default=8443,
    show_default=True,
    help="Where agents come in; the 3 ports above are kept, the tools' server is 10 above.",
)
@json_option
def command(folder: Path, port: int, *, as_json: bool) -> None:
    """Write a configuration, certificates and keys to start with.

    DIR is made, or is empty. It gets crewgate.toml; certs/ca.pem, the root that clients trust;
    ca/, gateway/ and crews/, whose keys are for three different users once this is more than a
    trial.
    """
    config = write_all(folder, port)
    if as_json:
        click.echo(json.dumps({"config": str(config), "ca": str(folder / "certs" / "ca.pem")}))
    else:
        click.echo(f"Wrote {config}; start it with: crewgate serve -c {config}", err=True)


def write_all(folder: Path, port: int) -> Path:
    """Write everything; the path of the configuration.

    ConfigurationError says what is in the way; a part may have been written then.
    """
    try:
        _open(folder)
        _write_certificates(folder)
        write_crew(folder / "crews", CREW)
        config = folder / "crewgate.toml"
        _write(config, fresh_config(port).encode(), 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); "
            "choose a folder where you may write"
        ) from error
    return config


def _open(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError(
            f"{folder}: not empty, and init overwrites nothing; choose another folder or empty it"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder}: not a folder; choose another name")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name, mode in (
        ("certs", 0o755),
        ("ca", 0o700),
        ("gateway", 0o700),
        ("crews", 0o755),
    ):
        (folder / name).mkdir(mode=mode)


def _write_certificates(folder: Path) -> None:
    from crewgate.pki.authority import Authority, create
    from crewgate.pki.certificates import make_server, pem

    ca = CA(folder / "ca", folder / "certs" / "ca.pem", folder / "certs" / "crl.pem", DOMAIN)
    now = datetime.now(UTC)
    create(ca, now)
    with Authority(ca) as authority:
        issuing = authority.issuing
    server = make_server(issuing, NAMES, [ip_address(text) for text in ADDRESSES], now)
    _write(folder / "gateway" / "gateway.key", server.key_pem, 0o600)
    chain = server.certificate_pem + pem(issuing.certificate)
    _write(folder / "certs" / "gateway.pem", chain, 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """A new file with this mode from the first moment (less the umask)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
