"""The answer to a scrape of `/metrics`."""

from crewgate.metrics.exposition import Exposition
from crewgate.server.plaintext_http1 import PlaintextRequest, PlaintextResponse

_ABSENT = b"""there are no metrics: only processes that `crewgate serve` has started share them
"""


class MetricsPage:
    """The metrics behind the descriptor that `crewgate serve` passed on; None if there is none.

    Threads may share it.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._exposition = None if descriptor is None else Exposition(descriptor)

    def answer(self, request: PlaintextRequest) -> PlaintextResponse:
        """Answer with all metrics, in the format that the request accepts."""
        if self._exposition is None:
            return PlaintextResponse(503, _ABSENT)
        text, media = self._exposition.read(request.headers.get("accept", ""))
        return PlaintextResponse(200, text, media)
