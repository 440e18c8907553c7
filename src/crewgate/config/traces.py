"""The table [traces]: which calls take part in traces."""

from typing import Annotated

import msgspec

from crewgate.config import values


class TracesConfig(msgspec.Struct, frozen=True):
    """A call with a valid `traceparent` always continues its trace."""

    sample: Annotated[
        float,
        values.SHARE_OR_NONE,
        "Share of the calls without a valid `traceparent` that start a trace.",
    ] = 0.0
