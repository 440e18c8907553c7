"""The tools of the tool server: names to grant, and routes. One list for all gateways of a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """A name that a token may hold, and what of the tool server it stands for.

    `bulk`: served by a process of its own, so that its bytes do not delay the others' answers.
    """

    name: str
    method: str
    path: str
    bulk: bool = False

    @property
    def upstream(self) -> str:
        """Its name in Crewgate's configuration."""
        return "bulk" if self.bulk else "tools"


PAGE = Tool("search.page", "GET", "/page")  # 200 bytes
LARGE = Tool("search.large", "GET", "/large")  # 64 KiB, its length said
STREAM = Tool("search.stream", "GET", "/stream")  # 64 KiB in pieces, no length
TAKE = Tool("search.take", "POST", "/take")  # reads a body, answers 200 bytes
KILOBYTE = Tool("search.kilobyte", "POST", "/kilobyte")  # reads a body, answers 1 KiB
HUGE = Tool("search.huge", "GET", "/huge", bulk=True)  # 16 MiB in pieces
SWALLOW = Tool("search.swallow", "POST", "/swallow", bulk=True)  # as TAKE
TOOLS = (PAGE, LARGE, STREAM, TAKE, KILOBYTE, HUGE, SWALLOW)
STRANGE = "publish.post"  # what a token out of scope allows
