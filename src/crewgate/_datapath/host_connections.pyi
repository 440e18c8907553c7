"""Holds what each call uses of the connections to one host."""

from crewgate._datapath.reusable_connections import ReusableConnections
from crewgate.upstream.balancer import Host
from crewgate.upstream.fair_wait_queue import FairWaitQueue

class CallQueue:
    """The base of `FairWaitQueue`. `needed` connections would carry all calls that wait."""

    needed: int

class HostConnections:
    """The base of `HostPool`.

    - `host`: the host
    - `free`: the connections that may carry another call
    - `waiting`: the calls that wait for a connection
    """

    waiting: FairWaitQueue

    def __init__(self, host: Host, waiting: FairWaitQueue) -> None: ...
    @property
    def host(self) -> Host: ...
    @property
    def free(self) -> ReusableConnections: ...
