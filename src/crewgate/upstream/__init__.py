"""Tools' servers: HTTP/1.1 over kept connections, opened by a `Permit` and by nothing else."""

from crewgate.upstream.call import Call, Head, Source, written
from crewgate.upstream.pool import Pool

__all__ = ["Call", "Head", "Pool", "Source", "written"]
