"""Revocations by orchestrators: of each crew one at a time, and so many a second.

Whoever asks for one may wait for other machines, and each is kept by all of them for a day: no crew
may keep another's waiting, or fill what one machine may tell. Operators wait for nobody here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.x509.identity import Identity, Role


class CrewRevocationLimiter:
    """One queue and one rate a crew: as many as have certificates."""

    def __init__(self) -> None:
        self._crews: dict[str, tuple[anyio.Lock, TokenBucket]] = {}

    def __repr__(self) -> str:
        return f"<CrewRevocationLimiter of {len(self._crews)}>"

    @asynccontextmanager
    async def enter(self, caller: Identity) -> AsyncIterator[None]:
        """The caller's turn, while the block runs; ControlError 429 for too many a second."""
        if caller.role is Role.OPERATOR:
            yield
            return
        rate = limits.crew_revocations_per_second
        if caller.crew not in self._crews:
            bucket = TokenBucket(rate, limits.crew_revocations_burst)
            self._crews[caller.crew] = anyio.Lock(), bucket
        turn, bucket = self._crews[caller.crew]
        if not bucket.take(anyio.current_time()):
            raise TOO_MANY_REQUESTS.error(
                f"crew {caller.crew} may make {rate} revocations a second; retry later, or revoke "
                "a branch that is above many"
            )
        async with turn:
            yield
