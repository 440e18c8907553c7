"""The tables [[listener]] and [control]: the addresses for agents, and for operators."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope
from crewgate.config.ocsp_client import OCSPMode
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Address, FilePath, Hosts, Mode, Port

ClientCertificate = Literal["none", "optional", "required"]
DPoPNonce = Literal["optional", "required"]
Crews = Annotated[tuple[str, ...], values.listed(values.NAME, limits.crews_max, min_count=1)]


def _ocsp_mode(scope: Scope) -> OCSPMode:
    ca = scope["ca"]
    asks = scope["client_certificate"] != "none" and ca is not None and ca.ocsp is not None
    return "required" if asks else "off"


class ListenerConfig(msgspec.Struct, frozen=True):
    """One TLS listener for agents; every worker opens it."""

    name: Annotated[str, values.NAME, "Name of the listener in logs and in the audit."]
    address: Annotated[Address, "IP address to listen on."]
    port: Annotated[Port, "TCP port to listen on."]
    certificate: Annotated[FilePath, "PEM file: the server's certificate, then the issuing CA's."]
    key: Annotated[FilePath, "PEM file: the certificate's private key."]
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    hosts: Annotated[Hosts, "Serve requests for these hosts only.", Key(absent="any host")] = ()
    client_certificate: Annotated[
        ClientCertificate, "Ask clients for a certificate of the CA in [ca]."
    ] = "none"
    dpop_nonce: Annotated[
        DPoPNonce,
        'With "required", a DPoP proof must have a nonce of this machine, so that it is good on no '
        "other machine.",
    ] = "optional"
    crews: Annotated[
        Crews | None,
        "Admit client certificates of these crews only.",
        Key(absent="every crew of the file"),
    ] = None
    ocsp: Annotated[
        OCSPMode,
        'Ask whether a client certificate is good; "soft-fail" admits it without an answer.',
        Key(
            default=_ocsp_mode,
            absent='"required" if clients present certificates and [ca] has `ocsp`, else "off"',
        ),
    ] = "off"

    @property
    def observe(self) -> bool:
        """Whether `mode` is "observe"."""
        return self.mode == "observe"

    def check(self, section: TOMLTableReader) -> None:
        """Note `crews` without certificates, since only a certificate names the crew."""
        if self.crews is not None and self.client_certificate == "none":
            section.problem(
                'crews: clients present no certificate here; add client_certificate = "required"'
            )


class ControlConfig(msgspec.Struct, frozen=True):
    """The address of the control API, which always requires a certificate of the internal CA."""

    address: Annotated[Address, "IP address to listen on."]
    port: Annotated[Port, "TCP port to listen on."]
    certificate: Annotated[FilePath, "PEM file: the server's certificate, then the issuing CA's."]
    key: Annotated[FilePath, "PEM file: the certificate's private key."]
