"""Finds out whether the control process of this machine runs, by connecting to its unix socket.

A gateway is ready without the control process: calls are decided as before, but nothing issues
certificates, answers OCSP or serves the control API.
"""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from crewgate import limits
from crewgate.config import HostPort, load
from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.ipc.sockets import connectable
from crewgate.runtime.state_sockets import OCSP_SOCKET


def control_of(config_path: Path, state: Path) -> dict[str, Any]:
    """Return `configured`, `running`, `api` (its URL) and `has_key`; None for what is unknown.

    A configuration with a mistake does not say what is in force. `has_key` is whether the CA's key
    is here, as far as this user may look: without the key the process serves nothing.
    """
    from crewgate.ca.authority import has_key

    found: dict[str, Any] = dict.fromkeys(("configured", "running", "api", "has_key"))
    found["running"] = _answers(state)
    with suppress(ConfigurationError):
        config = load(config_path)
        found["configured"] = config.ca is not None
        found["has_key"] = config.ca is not None and has_key(config.ca)
        if config.control is not None:
            address = HostPort(config.control.address, config.control.port)
            found["api"] = f"https://{address}"
    return found


def describe(control: dict[str, Any]) -> str:
    """Return a sentence for the terminal about what `control_of` found."""
    where = f", API at {control['api']}" if control["api"] else ""
    if control["has_key"] is False and control["configured"]:
        return "without the CA's key: issues no certificates, serves no control API"
    if control["running"]:
        return f"runs{where}"
    if control["configured"] is False:
        return "not configured"
    return "not running: no control API, OCSP or certificates; see the log of `serve`"


def _answers(state: Path) -> bool:
    try:
        with (
            connectable(state, OCSP_SOCKET) as where,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
        ):
            connection.settimeout(limits.ipc_seconds_max)
            connection.connect(where)
    except (OSError, ServiceConnectionError):
        return False
    return True
