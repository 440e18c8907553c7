"""Where a request carries its token: what `find_token` of core/bearer says, compiled."""

from collections.abc import Iterable, Sequence

from crewgate.core.http_types import HeaderField
from crewgate.core.problem_types import Reason

class TokenFinder:
    """`core.bearer.find_token` for one set of carriers, names in lower case.

    TypeError for fields, a query or carriers that are not `bytes`.
    """

    def __init__(self, carriers: Iterable[bytes]) -> None: ...
    def find(self, fields: Sequence[HeaderField], query: bytes) -> bytes | Reason:
        """The token, or INVALID_REQUEST or MISSING_TOKEN."""
