"""The way from a supervisor to the crews' listener: where it is, and a connection to it.

Decides which listener of a configuration that is. The gateway must prove its name by the CA that is
trusted; who we are is the credential's to prove.
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
    """The gateway, as an orchestrator reaches it: `host` is a name or an address."""

    host: str
    port: int
    server_name: str  # that its certificate must have
    trust: Path

    @property
    def url(self) -> str:
        """What CMD puts before a path: plain HTTP, since it is spoken at the local door."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.port}"

    async def dial(self, credential: Credential, protocol: str) -> TLSStream:
        """A connection that has shaken hands for `protocol`; SidecarError."""
        try:
            with trio.fail_after(limits.run_connect_seconds_max):
                transport = await trio.open_tcp_stream(self.host, self.port)
        except (OSError, trio.TooSlowError) as error:
            why = str(error) or "it does not answer"
            raise SidecarError(f"no gateway at {self.host} port {self.port}: {why}") from error
        stream = TLSStream(transport, credential.contexts[protocol], self.server_name)
        try:
            with trio.fail_after(limits.run_connect_seconds_max):
                await stream.shake_hands()
            _require_protocol(stream, protocol)
        except BaseException as error:
            await trio.aclose_forcefully(transport)
            if isinstance(error, trio.TooSlowError):
                raise SidecarError("the gateway does not shake hands") from error
            raise
        return stream


def _require_protocol(stream: TLSStream, protocol: str) -> None:
    if stream.protocol != protocol:
        raise SidecarError(f"the gateway does not speak {protocol}")


def find_gateway(config: Config, crew: str, at: str | None, trust: Path) -> GatewayDialer:
    """To `at` (HOST:PORT), else to the listener of `config` that admits certificates of `crew`.

    ConfigurationError if there is none.
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
        'client_certificate = "required", or say where the gateway is: --gateway HOST:PORT'
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
