"""Whether the control process of this machine runs, as far as a command can see from outside.

Its unix socket answers or it does not. A gateway is ready without it: calls are judged as before,
but nobody issues, answers OCSP or serves the API.
"""

import socket
from pathlib import Path
from typing import Any

from crewgate import limits
from crewgate.errors import ConfigurationError, LinkError

_SOCKET = "ocsp.sock"


def control_of(config_path: Path, state: Path) -> dict[str, Any]:
    """Whether it is to run, whether it does, and where its API is; None where that is not known.

    A file with a mistake in it says nothing of what is in force. `has_key`: whether the CA's key is
    here, as far as this user may look; without it the process serves nothing.
    """
    from crewgate.ca.authority import has_key
    from crewgate.config import load

    wanted: bool | None = None
    is_keyed: bool | None = None
    api: str | None = None
    try:
        config = load(config_path)
    except ConfigurationError:
        pass
    else:
        wanted = config.ca is not None
        is_keyed = config.ca is not None and has_key(config.ca)
        if config.control is not None:
            address = config.control.address
            host = f"[{address}]" if ":" in address else address
            api = f"https://{host}:{config.control.port}"
    return {
        "configured": wanted, "running": _answers(state), "api": api, "has_key": is_keyed
    }  # fmt: skip


def describe(control: dict[str, Any]) -> str:
    """The same for a person."""
    where = f", API at {control['api']}" if control["api"] else ""
    if control["has_key"] is False and control["configured"]:
        return "without the CA's key: it issues nothing and serves no control API"
    if control["running"]:
        return f"runs{where}"
    if control["configured"] is False:
        return "not configured"
    return "does not run: no control API, no OCSP, no certificates; `serve` says why"


def _answers(state: Path) -> bool:
    from crewgate.ipc.sockets import connectable

    try:
        with (
            connectable(state, _SOCKET) as where,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
        ):
            connection.settimeout(limits.link_seconds_max)
            connection.connect(where)
    except (OSError, LinkError):
        return False
    return True
