"""Bounds the responses that wait for changes at a server, such as subscriptions.

They cost nothing, unless the configuration says otherwise. Over HTTP/1.1, each one takes a
connection to its server for as long as its client likes. Without a bound, one branch could take all
connections for nothing, and others would get none.
"""

from crewgate import limits
from crewgate.config import UpstreamConfig
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.tokens.grant import Grant


class OpenStreams:
    """The open streams of one worker, by upstream, crew and branch.

    Together they take at most a part of the connections of an upstream.
    """

    def __init__(self) -> None:
        self._limiters: dict[tuple[str, int], tuple[FairShareLimiter, FairShareLimiter]] = {}

    def take(self, upstream: UpstreamConfig, grant: Grant) -> bool:
        """Count a stream of a branch; return False, and count nothing, if there are too many."""
        of_crews, of_branches = self._limiters_of(upstream)
        if not of_crews.take(1, grant.caller):
            return False
        if of_branches.take(1, grant.branch_key.hex()):
            return True
        of_crews.free(1, grant.caller)
        return False

    def free(self, upstream: UpstreamConfig, grant: Grant) -> None:
        """Note that a stream has ended, which `take` has counted with the same arguments."""
        of_crews, of_branches = self._limiters_of(upstream)
        of_crews.free(1, grant.caller)
        of_branches.free(1, grant.branch_key.hex())
        if not of_crews.taken:
            del self._limiters[_key(upstream)]

    def _limiters_of(self, upstream: UpstreamConfig) -> tuple[FairShareLimiter, FairShareLimiter]:
        found = self._limiters.get(_key(upstream))
        if found is None:
            total = upstream.connections // limits.open_streams_divisor
            found = self._limiters[_key(upstream)] = (
                FairShareLimiter(total, min(limits.open_streams_crew_share, total or 1)),
                FairShareLimiter(total, min(limits.open_streams_branch_share, total or 1)),
            )
        return found


def _key(upstream: UpstreamConfig) -> tuple[str, int]:
    # A reload may change the connections; what was counted before is freed where it was counted.
    return upstream.name, upstream.connections
