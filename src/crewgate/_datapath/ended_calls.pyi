"""Records the calls that have just ended with one system call, then settles each of them once.

The record is written before the reservation is settled. If the worker dies between the two, the
agent finds the reservation and burns it, with a record of its own. So each call has a record.
"""

from crewgate._datapath.socket_poller import SocketPoller
from crewgate._native.metrics import CallBatch
from crewgate._native.permit import Permit
from crewgate.audit.recorder import AuditRecorder

class EndedCallQueue:
    """The calls that have ended since the worker was last idle.

    `calls` are those that the metrics count once their lines are written: put a call there after
    its line.
    """

    calls: CallBatch
    def __init__(self, sink: AuditRecorder, poller: SocketPoller) -> None: ...
    def add(self, line: bytes, permit: Permit, cost: int) -> None:
        """Take an ended call: its audit record, and its cost in micro-credits.

        The branch's lease gets back the credit that the call had reserved beyond its cost.
        """
    def flush(self) -> None:
        """Write all records, then settle all permits. The poller calls this when it is idle."""
