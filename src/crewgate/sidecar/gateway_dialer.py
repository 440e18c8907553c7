"""Finds the gateway's listener for an orchestrator, and opens TLS connections to it.

The gateway must prove its name with a certificate of the trusted CA; the credential proves who the
orchestrator is.
"""

from ipaddress import ip_address
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate.config import Config
from crewgate.errors import ConfigurationError, SidecarError
from crewgate.sidecar.credentials import Credential
from crewgate.sidecar.tls import TLSStream

# Where to reach a listener that is bound to every address.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class GatewayDialer(msgspec.Struct, frozen=True):
    """Where an orchestrator reaches the gateway: `host` is a name or an address.

    The gateway's certificate must have `server_name` and come from the CA in the file `trust`.
    """

    host: str
    port: int
    server_name: str
    trust: Path

    @property
    def url(self) -> str:
        """The base URL for CMD: plain HTTP, which the local socket expects."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.port}"

    async def dial(self, credential: Credential, protocol: str) -> TLSStream:
        """Return a connection that has completed the handshake for `protocol`; SidecarError."""
        try:
            with trio.fail_after(limits.run_connect_seconds_max):
                transport = await trio.open_tcp_stream(self.host, self.port)
        except (OSError, trio.TooSlowError) as error:
            why = str(error) or "it does not answer"
            raise SidecarError(f"no gateway at {self.host} port {self.port}: {why}") from error
        stream = TLSStream(transport, credential.contexts[protocol], self.server_name)
        try:
            with trio.fail_after(limits.run_connect_seconds_max):
                await stream.shake_hands(protocol)
        except BaseException as error:
            await trio.aclose_forcefully(transport)
            if isinstance(error, trio.TooSlowError):
                raise SidecarError("the gateway did not complete the TLS handshake") from error
            raise
        return stream


def find_gateway(config: Config, crew: str, at: str | None, trust: Path) -> GatewayDialer:
    """Return a dialer to `at` (HOST:PORT), or else to the listener that admits `crew`.

    Raises ConfigurationError if no listener does, SidecarError if `at` is malformed.
    """
    if at is not None:
        host, port = _split(at)
        return GatewayDialer(host, port, host, trust)
    for kind in ("required", "optional"):
        for listener in config.listeners:
            admits = listener.crews is None or crew in listener.crews
            if listener.client_certificate == kind and admits:
                host = _LOOPBACK.get(listener.address, listener.address)
                name = listener.hosts[0] if listener.hosts else host
                return GatewayDialer(host, listener.port, name, trust)
    raise ConfigurationError(
        f"{config.path}: no listener admits certificates of crew {crew}; add one with "
        'client_certificate = "required", or give the gateway: --gateway HOST:PORT'
    )


def _split(at: str) -> tuple[str, int]:
    host, _, port = at.rpartition(":")
    if host.startswith("["):
        host = host.removeprefix("[").removesuffix("]")
    elif ":" in host:
        host = ""
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise SidecarError(f"--gateway {at}: expected HOST:PORT or [ADDRESS]:PORT")
    try:
        return str(ip_address(host)), int(port)
    except ValueError:
        return host, int(port)
