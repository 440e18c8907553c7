"""Takes over the listening sockets that a service manager opened for this process.

The service manager keeps its own copies. So clients can connect while no process of ours runs, and
their connections wait in the socket until one accepts them (sd_listen_fds(3)).
"""

import os
import socket
from typing import Final

from crewgate.errors import ConfigurationError
from crewgate.runtime.listening import ListenAddress, normal

_FIRST: Final = 3  # the descriptor of the first socket; the others follow
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def activated_sockets() -> dict[ListenAddress, socket.socket]:
    """Return the sockets that the environment announces to this process, by address.

    Remove the variables, so that no child process takes the sockets for its own.
    Raises ConfigurationError if one is no listening TCP socket, or if two have the same address.
    """
    pid, count, names = (os.environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[ListenAddress, socket.socket] = {}
    named = dict(enumerate(names.split(":")))
    for index in range(int(count)):
        what = f"socket {index} of the service manager ({named.get(index) or 'no name'})"
        sock = _listening(_FIRST + index, what)
        address = normal(*sock.getsockname()[:2])
        if address in found:
            raise ConfigurationError(
                f"{what}: another one is at {describe(address)} too; all workers share one "
                "socket, so write one ListenStream= for each [[listener]]"
            )
        found[address] = sock
    return found


def describe(address: ListenAddress) -> str:
    """Return an address as ListenStream= has it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listening(descriptor: int, what: str) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
        sock = socket.socket(fileno=descriptor)
        is_tcp = sock.family in {socket.AF_INET, socket.AF_INET6}
        if is_tcp and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # Accepted connections inherit this.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(0)
            return sock
        sock.close()
    except OSError as error:
        raise ConfigurationError(f"{what}: {error.strerror}") from error
    raise ConfigurationError(
        f"{what}: expected a listening TCP socket; write ListenStream=ADDRESS:PORT, and no Accept="
    )
