"""Keys that `[tool.NAME]` and the tables of endpoints have alike."""

from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.values import Fields, Name
from crewgate.core.bearer import CARRIERS

Origins = Annotated[
    tuple[str, ...], values.listed(values.WEB_ORIGIN, limits.fields_max, min_count=1)
]


class CORSConfig(msgspec.Struct, frozen=True):
    """The web pages that may call a tool from a browser (Fetch standard, "CORS protocol")."""

    origins: Annotated[Origins, 'Origins of the pages that may call; "*" is any.']
    headers: Annotated[Fields, "Header fields that those pages may set."] = (
        "authorization",
        "content-type",
        "dpop",
    )
    max_age_seconds: Annotated[
        int,
        values.integer(0, limits.cors_max_age_seconds_max),
        "Time that a browser remembers the permission.",
    ] = limits.cors_max_age_seconds

    def allows(self, origin: str) -> bool:
        """Return whether a page may call, by the value of its Origin field."""
        return origin in self.origins or "*" in self.origins


AllowedFields = Annotated[Fields, "Header fields to pass on that the gateway drops elsewhere."]
Carriers = Annotated[
    tuple[str, ...],
    values.listed(values.one_of(CARRIERS, str), len(CARRIERS)),
    "Header fields that may hold the token.",
]
CORS = Annotated[
    CORSConfig | None, "Web pages that may call it from a browser; without the table none may."
]
Owner = Annotated[Name, "Crew that owns it; other crews need a client certificate to call it."]
WhenStale = Annotated[
    Literal["closed", "open"],
    'While this machine may lack the newest revocations, "closed" refuses calls with 503, and '
    '"open" serves them.',
]
