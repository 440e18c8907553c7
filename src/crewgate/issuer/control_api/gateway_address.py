"""Finds the gateway's listener for a process that a sidecar connects with it."""

import ssl
from ipaddress import ip_address
from pathlib import Path

import msgspec

from crewgate.config import Config, UpstreamOrigin
from crewgate.config.listener import ListenerConfig
from crewgate.errors import ConfigurationError, SidecarError

# Variables of CMD: its socket, the base URL of the gateway, the thumbprint of the sidecar's key.
SOCKET, GATEWAY, PROOF_KEY = "CREWGATE_SOCKET", "CREWGATE_GATEWAY", "CREWGATE_PROOF_KEY"
# Where to reach a listener that is bound to every address.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class GatewayAddress(msgspec.Struct, frozen=True):
    """Where a sidecar reaches the gateway: `host` is a name or an address.

    The gateway's certificate must have `server_name` and come from the CA in the file `trust`.
    """

    host: str
    port: int
    server_name: str
    trust: Path

    @property
    def authority(self) -> str:
        """The value of the Host field of a request to the gateway."""
        return UpstreamOrigin("https", self.server_name, self.port).authority

    @property
    def origin(self) -> str:
        """The beginning of the URL of each request, as a DPoP proof names it."""
        return f"https://{self.authority}"

    @property
    def url(self) -> str:
        """The base URL for CMD: plain HTTP, which the local socket expects."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        """Make a TLS context that trusts only `trust`, and offers HTTP/2.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        # The certificate of a listener itself may be trusted, if there is no CA.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(self.trust)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"{self.trust}: cannot read the gateway's root ({error.strerror or error}); name "
                "the CA's certs/ca.pem"
            ) from error
        return context


def find_gateway_for_tokens(config: Config, crew: str) -> GatewayAddress:
    """Return the address of the first listener that serves tokens of `crew` without a certificate.

    Raises:
        ConfigurationError: All listeners require client certificates.
    """
    for listener in config.listeners:
        if listener.client_certificate != "required":
            trust = config.ca.root if config.ca is not None else listener.certificate
            return _address(listener, trust)
    raise ConfigurationError(
        f"{config.path}: each listener requires a client certificate, which a sub-agent of crew "
        f"{crew} has not; add a listener without client_certificate"
    )


def find_gateway_for_certificates(
    config: Config, crew: str, at: str | None, trust: Path
) -> GatewayAddress:
    """Return the address of `at` (HOST:PORT), or else to the listener that admits `crew`.

    Raises ConfigurationError if no listener does, SidecarError if `at` is malformed.
    """
    if at is not None:
        host, port = _split(at)
        return GatewayAddress(host, port, host, trust)
    for kind in ("required", "optional"):
        for listener in config.listeners:
            admits = listener.crews is None or crew in listener.crews
            if listener.client_certificate == kind and admits:
                return _address(listener, trust)
    raise ConfigurationError(
        f"{config.path}: no listener admits certificates of crew {crew}; add one with "
        'client_certificate = "required", or give the gateway: --gateway HOST:PORT'
    )


def _address(listener: ListenerConfig, trust: Path) -> GatewayAddress:
    host = _LOOPBACK.get(listener.address, listener.address)
    name = listener.hosts[0] if listener.hosts else host
    return GatewayAddress(host, listener.port, name, trust)


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
