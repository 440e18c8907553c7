"""The tables [tool.NAME]: the name, route and price of a tool, and how its calls are decided."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import FlattenedKeys, Key, TableSchema
from crewgate.config.prices import PriceKeys
from crewgate.config.values import Fields, Hosts, Mode, Name
from crewgate.core.bearer import CARRIERS
from crewgate.core.policy.policy import SHARED
from crewgate.core.pricing.tariff import Tariff

DecideOn = Literal["headers", "body"]
WhenStale = Literal["closed", "open"]

Carriers = Annotated[tuple[str, ...], values.listed(values.one_of(CARRIERS, str), len(CARRIERS))]
Origins = Annotated[
    tuple[str, ...], values.listed(values.WEB_ORIGIN, limits.fields_max, min_count=1)
]


class CORSConfig(msgspec.Struct, frozen=True):
    """The web pages that may call a tool from a browser (Fetch standard, "CORS protocol")."""

    origins: Annotated[Origins, 'Origins of the pages that may call; "*" is any.']
    headers: Annotated[Fields, "Header fields that those pages may set."] = (
        "authorization",
        "content-type",
    )
    max_age_seconds: Annotated[
        int,
        values.integer(0, limits.cors_max_age_seconds_max),
        "Time that a browser remembers the permission.",
    ] = limits.cors_max_age_seconds

    def allows(self, origin: str) -> bool:
        """Whether a page may call, by the value of its Origin field."""
        return origin in self.origins or "*" in self.origins


class ToolConfig(msgspec.Struct, frozen=True):
    """A tool: its name, its route, its price, and how its calls are decided.

    `price` is in micro-credits. If there is a `tariff`, `price` is the highest cost of a call.
    """

    name: str
    method: Annotated[str, values.METHOD, "HTTP method of its calls."]
    path: Annotated[str, values.ROUTE_PATH, "Path of its calls."]
    upstream: Annotated[Name, "The [upstream.NAME] that serves it."]
    price: Annotated[int, FlattenedKeys(of=TableSchema(PriceKeys))]
    owner: Annotated[
        Name, "Crew that owns it; other crews need a client certificate to call it."
    ] = SHARED
    decide_on: Annotated[
        DecideOn, 'Decide with the "headers" alone, or with the first 64 KiB of the "body" too.'
    ] = "headers"
    mode: Annotated[Mode, values.MODE_TEXT] = "enforce"
    carriers: Annotated[Carriers, "Header fields that may hold the token."] = ("authorization",)
    allow_fields: Annotated[
        Fields, "Header fields to pass on that the gateway drops elsewhere."
    ] = ()
    body_bytes_max: Annotated[
        int,
        values.integer(0, limits.tool_body_bytes_max),
        "Longest body of a request, in bytes; a longer one gets 413.",
    ] = limits.request_body_bytes_max
    cors: Annotated[
        CORSConfig | None, "Web pages that may call it from a browser; without the table none may."
    ] = None
    tariff: Tariff | None = None
    when_stale: Annotated[
        WhenStale,
        'While this machine may lack the newest revocations, "closed" refuses calls with 503, and '
        '"open" serves them.',
    ] = "closed"
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
