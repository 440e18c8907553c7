"""Tools' servers: HTTP over kept connections, opened by a `Permit` and by nothing else."""

from crewgate.upstream.call import Caller, Carrier, Head, written
from crewgate.upstream.pool import Pool

__all__ = ["Caller", "Carrier", "Head", "Pool", "written"]
