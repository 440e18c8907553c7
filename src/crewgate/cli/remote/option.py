"""The option `--control URL`: another machine runs the command, through its control API.

A local command needs a configuration. A remote command needs a client certificate and a root to
trust, and a function of the same purpose in `remote/commands`.
"""

from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crewgate.cli.options import Function, config_option

if TYPE_CHECKING:
    from crewgate.cli.remote.client import ControlClient


def control_options(function: Function) -> Function:
    """Add --control, --cert and --ca; the command gets them as `control`, `prefix` and `root`."""
    url = click.option(
        "--control",
        metavar="URL",
        help="Use the control API at https://HOST:PORT; then -c is not needed.",
    )
    certificate = click.option(
        "--cert",
        "prefix",
        metavar="PREFIX",
        type=click.Path(path_type=Path),
        help="With --control: client certificate PREFIX.pem and key PREFIX.key.",
    )
    trust = click.option(
        "--ca",
        "root",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --control: root certificate to trust (default: the configuration's).",
    )
    return url(certificate(trust(function)))


def client_of(
    config_path: Path | None, control: str | None, prefix: Path | None, root: Path | None
) -> "ControlClient | None":
    """Return a client of the control API; None without --control."""
    if control is None:
        _require_control(prefix, root)
        return None
    from crewgate.cli.ca_argument_checks import with_suffix
    from crewgate.cli.remote.client import ClientCertificateFiles, ControlClient

    if prefix is None:
        raise click.UsageError("--control needs --cert PREFIX (PREFIX.pem and PREFIX.key)")
    files = with_suffix(prefix, "pem"), with_suffix(prefix, "key")
    credentials = ClientCertificateFiles(*files, root or _root_of(config_path))
    return ControlClient(control, credentials)


def with_remote(twin: str) -> Callable[[Function], Function]:
    """Add -c, --control, --cert and --ca to a command.

    Without --control, the command is called with `config_path`. With --control, the function `twin`
    of `remote/commands` is called with a `ControlClient` instead.
    """

    def decorate(function: Function) -> Function:
        @partial(config_option, required=False)
        @control_options
        @wraps(function)
        def command(
            config_path: Path | None,
            control: str | None,
            prefix: Path | None,
            root: Path | None,
            **given: Any,  # noqa: ANN401 - the other options of the command
        ) -> Any:  # noqa: ANN401 - what the command returns
            api = client_of(config_path, control, prefix, root)
            if api is None:
                if config_path is None:
                    raise click.UsageError("Missing option '-c' / '--config'.")
                return function(config_path=config_path, **given)
            work = getattr(import_module("crewgate.cli.remote.commands"), twin)
            with api as client:
                return work(client, **given)

        return command  # type: ignore[return-value] # click calls it with other arguments

    return decorate


def _require_control(prefix: Path | None, root: Path | None) -> None:
    for name, value in (("--cert", prefix), ("--ca", root)):
        if value is not None:
            raise click.UsageError(f"{name} is only for --control URL")


def _root_of(config_path: Path | None) -> Path:
    from crewgate.config import load

    ca = load(config_path).ca if config_path is not None else None
    if ca is None:
        raise click.UsageError("--control needs --ca FILE, or -c FILE with a section [ca]")
    return ca.root
