"""Runs the live page for the person at this terminal, who gets links to it."""

import os
import sys
from pathlib import Path

import click
import trio
from msgspec.structs import replace

from crewgate import limits
from crewgate.config import Config, UIConfig, load
from crewgate.errors import ConfigurationError
from crewgate.ipc.admin_client import AdminClient
from crewgate.policy.serve_config_checks import cannot_bind
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import listen, taken
from crewgate.ui.login.login_service import user_name
from crewgate.ui.login.one_time_codes import OneTimeCodes
from crewgate.ui.main import run_local
from crewgate.ui.page_state import PageState

_ADDRESS = "127.0.0.1"
_READ_BYTES = 4096


def run(path: Path, port: int) -> None:
    """Run a page at this port of loopback, or at a free one if it is 0.

    Raises CrewgateError, OSError.
    """
    watch = FileWatch((path.absolute(),))
    config = load(path)
    with AdminClient(config.state) as agent:
        agent.status()  # who may not ask the agent gets no link
        _demand_user(agent.agent.uid)
    error = taken(_ADDRESS, port)
    if error is not None:
        raise cannot_bind("--port", _ADDRESS, port, error)
    sock = listen(_ADDRESS, port, where="--port")
    page = UIConfig(port=sock.getsockname()[1], address=_ADDRESS)
    page = replace(page, url=f"http://{_ADDRESS}:{page.port}")

    def fitted(config: Config) -> Config:
        return replace(config, ui=page)

    run_local(fitted(config), watch, sock, fitted, _print_links)


def _demand_user(uid: int) -> None:
    """Raise ConfigurationError for root, whose audit files the gateway could not read."""
    if uid != os.geteuid():
        name = user_name(uid)
        raise ConfigurationError(
            f"the gateway runs as user {name}; run `crewgate ui` as that user, such as with "
            f"`sudo -u {name}`"
        )


async def _print_links(state: PageState, codes: OneTimeCodes) -> None:
    """Print a link, and another one each time that the person at the terminal presses Enter."""
    while True:
        minutes = limits.ui_code_seconds // 60
        # The code is in the fragment, which browsers send to nobody.
        click.echo(
            f"Open this link in your browser; it is good once, for {minutes} minutes:\n"
            f"{state.page.url}/#/code/{codes.new()}"
        )
        await _await_enter()


async def _await_enter() -> None:
    """Return when a person has pressed Enter; without a terminal, never."""
    if not sys.stdin.isatty():
        await trio.sleep_forever()
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    if not os.read(sys.stdin.fileno(), _READ_BYTES):  # the end of input
        await trio.sleep_forever()
