"""The tables [tool.NAME]: the name, route and price of a tool, and how its calls are decided."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import FlattenedKeys, Key, TableSchema
from crewgate.config.prices import PriceKeys
from crewgate.config.route_keys import CORS, AllowedFields, Carriers, Owner, WhenStale
from crewgate.config.values import Binding, Hosts, Mode, Name
from crewgate.core.policy.policy import SHARED
from crewgate.core.pricing.tariff import Tariff

DecideOn = Literal["headers", "body"]


class ToolConfig(msgspec.Struct, frozen=True):
    """A tool: its name, its route, its price, and how its calls are decided.

    `price` is in micro-credits. If there is a `tariff`, `price` is the highest cost of a call.
    """

    name: str
    method: Annotated[str, values.METHOD, "HTTP method of its calls."]
    path: Annotated[str, values.ROUTE_PATH, "Path of its calls."]
    upstream: Annotated[Name, "The [upstream.NAME] that serves it."]
    price: Annotated[int, FlattenedKeys(of=TableSchema(PriceKeys))]
    owner: Owner = SHARED
    decide_on: Annotated[
        DecideOn, 'Decide with the "headers" alone, or with the first 64 KiB of the "body" too.'
    ] = "headers"
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    carriers: Carriers = ("authorization",)
    allow_fields: AllowedFields = ()
    body_bytes_max: Annotated[
        int,
        values.integer(0, limits.tool_body_bytes_max),
        "Longest body of a request, in bytes; a longer one gets 413.",
    ] = limits.request_body_bytes_max
    cors: CORS = None
    tariff: Tariff | None = None
    when_stale: WhenStale = "closed"
    binding: Annotated[Binding, values.BINDING_TEXT] = "optional"
    hosts: Annotated[
        Hosts, "Only requests to these hosts are calls of this tool.", Key(absent="any host")
    ] = ()
    rewrite: Annotated[
        str | None, values.ROUTE_PATH, "Its path at the server.", Key(absent="`path`")
    ] = None

    @property
    def observe(self) -> bool:
        """Whether `mode` is "observe"."""
        return self.mode == "observe"
