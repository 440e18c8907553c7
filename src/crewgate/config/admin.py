"""The table [admin]: where this machine answers probes over plain HTTP."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec

from crewgate.config import values
from crewgate.config.cluster import HostPort
from crewgate.config.declaration import Key
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Address, FilePath, Port


class AdminConfig(msgspec.Struct, frozen=True):
    """The one place of the admin listener: an address and a port, or a unix socket."""

    address: Annotated[
        Address,
        "IP address to listen on. An address that is not a loopback address needs `remote`.",
    ] = "127.0.0.1"
    port: Annotated[
        Port | None, values.PORT, "TCP port to listen on.", Key(absent="none; give `socket`")
    ] = None
    socket: Annotated[
        FilePath | None,
        "Unix socket to listen at, in the place of a port, for this user and its group.",
    ] = None
    remote: Annotated[
        bool,
        values.SWITCH,
        "Let other machines connect. The listener knows no callers: everybody who reaches it reads "
        "the state of this machine.",
    ] = False

    @property
    def place(self) -> Path | HostPort:
        """The unix socket, or the address and port; `check` demands one of both."""
        return self.socket or HostPort(self.address, self.port or 0)

    def check(self, section: TOMLTableReader) -> None:
        """Note two places or none, and an address that other machines reach by mistake."""
        if (self.port is None) == (self.socket is None):
            section.problem('give either `port` or `socket`, such as socket = "state/admin.sock"')
        is_local = ip_address(self.address).is_loopback
        if not is_local and not self.remote:
            section.problem(
                f"{self.address} is no loopback address, and this listener asks for no certificate "
                'and no token; listen on "127.0.0.1" or "::1", or write remote = true if a network '
                "policy protects the port",
                "address",
            )
        if is_local and self.remote:
            section.problem("only with an address that other machines can reach", "remote")
