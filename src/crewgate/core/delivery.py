"""States how far a failed call to a tool's server has come, which decides whether it is retried."""

from enum import Enum

# Reasons for the failure of a call.
ENDING = "the gateway is shutting down"
OURS = "internal error of the gateway"


class DeliveryState(Enum):
    """What the server has seen of a call that failed."""

    UNSEEN = "nothing"
    STALE = "nothing: input on a kept connection ended it before the call was written"
    MET_ITS_END = "probably nothing: the server had closed a kept connection"
    BREACHED = "perhaps all: the server broke the HTTP/2 protocol, in this response or another"
    LOST = "perhaps all"
    LOST_TOO = "perhaps all, on a connection whose failure is already counted with another call"
    ANSWERED = "enough: a response had begun, or the server waited for the rest of the request"
