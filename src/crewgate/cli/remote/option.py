"""`--control URL`: a command that another machine's gateway carries out, asked by its control API.

Decides which of the two ways a command goes, and what each needs: a configuration here, or a
certificate and a root to trust there. Knows no command: each has its twin in `remote`.
"""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from crewgate.cli.options import Function

_FILE = click.Path(dir_okay=False, path_type=Path)


def with_remote(twin: str) -> Callable[[Function], Function]:
    """The options, for a command whose twin is the function `twin` of `remote/commands`.

    The command itself is called as before, with `config_path`; the twin with a `ControlClient`
    in its place.
    """

    def decorate(function: Function) -> Function:
        @click.option(
            "-c",
            "--config",
            "config_path",
            metavar="FILE",
            type=_FILE,
            help="The configuration file.",
        )
        @click.option(
            "--control",
            metavar="URL",
            help="Ask the control API there, as https://HOST:PORT; -c is not needed then.",
        )
        @click.option(
            "--cert",
            "prefix",
            metavar="PREFIX",
            type=click.Path(path_type=Path),
            help="With --control: our certificate PREFIX.pem and its PREFIX.key.",
        )
        @click.option(
            "--ca",
            "root",
            metavar="FILE",
            type=_FILE,
            help="With --control: the root to trust; else the configuration's.",
        )
        @wraps(function)
        def command(
            config_path: Path | None,
            control: str | None,
            prefix: Path | None,
            root: Path | None,
            **given: Any,  # noqa: ANN401 - the command's own
        ) -> Any:  # noqa: ANN401 - whatever it returns
            if control is None:
                _only_with_control(prefix, root)
                if config_path is None:
                    raise click.UsageError("Missing option '-c' / '--config'.")
                return function(config_path=config_path, **given)
            from crewgate.cli.remote.client import ClientCertificateFiles, ControlClient

            if prefix is None:
                raise click.UsageError("--control needs --cert PREFIX: our certificate and key")
            work = getattr(import_module("crewgate.cli.remote.commands"), twin)
            credentials = ClientCertificateFiles(prefix, root or _root_of(config_path))
            with ControlClient(control, credentials) as client:
                return work(client, **given)

        return command  # type: ignore[return-value] # what click calls has other arguments

    return decorate  # fmt: skip


def _only_with_control(prefix: Path | None, root: Path | None) -> None:
    for name, value in (("--cert", prefix), ("--ca", root)):
        if value is not None:
            raise click.UsageError(f"{name} is for --control URL alone")


def _root_of(config_path: Path | None) -> Path:
    from crewgate.config import load

    ca = load(config_path).ca if config_path is not None else None
    if ca is None:
        raise click.UsageError("--control needs --ca FILE, or -c FILE with a [ca]: whom to trust")
    return ca.root
