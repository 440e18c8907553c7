"""The tables [mcp_group.NAME]: one path in front of several [mcp.NAME]."""

from typing import Annotated

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key
from crewgate.config.mcp import MCPConfig, Refusals
from crewgate.config.route_keys import CORS, Carriers
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.config.values import Hosts
from crewgate.core.mcp.group_names import is_server_name

_Servers = Annotated[
    tuple[str, ...], values.listed(values.NAME, limits.mcp_group_servers_max, min_count=1)
]


class MCPGroupConfig(msgspec.Struct, frozen=True):
    """A path at which clients use several MCP endpoints as one server.

    A call is judged as one of the endpoint that has the tool: by its prices, rules and pins.
    """

    name: str
    path: Annotated[str, values.ENDPOINT_PATH, "Path at which clients connect."]
    servers: Annotated[_Servers, "The [mcp.NAME] that it serves, in the order of its lists."]
    refusals: Refusals = "mcp"
    carriers: Carriers = ("authorization",)
    cors: CORS = None
    hosts: Annotated[
        Hosts, "Only requests to these hosts are for this group.", Key(absent="any host")
    ] = ()

    def check(self, section: TOMLTableReader) -> None:
        """Note carriers and names of servers that cannot work."""
        if not self.carriers:
            section.problem("carriers: empty, so no call has a token; name one")
        for server in self.servers:
            if not is_server_name(server):
                section.problem(
                    f'servers: "{server}" cannot stand before the name of a tool: it has '
                    f'"__", ends with "_", or has more than {limits.mcp_group_server_chars_max} '
                    "characters; rename it"
                )

    def member(self, endpoint: MCPConfig) -> MCPConfig:
        """Return one of its endpoints as clients of the group reach it."""
        rewrite = endpoint.rewrite or endpoint.path
        return msgspec.structs.replace(
            endpoint,
            path=self.path,
            rewrite=None if rewrite == self.path else rewrite,
            hosts=self.hosts,
            carriers=self.carriers,
            cors=self.cors,
            refusals=self.refusals,
        )
