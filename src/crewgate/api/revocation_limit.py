"""Limits the revocations by orchestrators: one at a time for each crew, and a rate.

A revocation may wait for other machines, and all of them keep it for a day. So no crew may delay
the revocations of another, or use up what one machine may gossip. Operators have no limit here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.core.rate_limit import TokenBucket
from crewgate.core.x509.identity_extension import Identity, Role


class CrewRevocationLimiter:
    """A queue and a rate limit for each crew that has used a certificate."""

    def __init__(self) -> None:
        self._crews: dict[str, tuple[anyio.Lock, TokenBucket]] = {}

    @asynccontextmanager
    async def enter(self, caller: Identity) -> AsyncIterator[None]:
        """Wait for the crew's turn and hold it while the block runs.

        Raises ControlError 429 over the rate.
        """
        if caller.role is Role.OPERATOR:
            yield
            return
        rate = limits.crew_revocations_per_second
        if caller.crew not in self._crews:
            bucket = TokenBucket(rate, limits.crew_revocations_burst)
            self._crews[caller.crew] = anyio.Lock(), bucket
        lock, bucket = self._crews[caller.crew]
        if not bucket.take(anyio.current_time()):
            raise TOO_MANY_REQUESTS.error(
                f"crew {caller.crew} may make {rate} revocations a second; retry later, or revoke "
                "a branch that is above many"
            )
        async with lock:
            yield
