"""Finds the token of a request: `find_token` of core/bearer, compiled."""

from collections.abc import Iterable, Sequence

from crewgate.core.bearer import Credentials
from crewgate.core.http_types import HeaderField
from crewgate.core.reasons import Reason

class TokenFinder:
    """`core.bearer.find_token` for one set of carriers, whose names are in lower case.

    Fields, a query or carriers that are not `bytes` raise TypeError.
    """

    def __init__(self, carriers: Iterable[bytes]) -> None: ...
    def find(self, fields: Sequence[HeaderField], query: bytes) -> Credentials | Reason:
        """Return the token and its proof, or INVALID_REQUEST or MISSING_TOKEN."""
