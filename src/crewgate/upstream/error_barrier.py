"""The barrier round what is done for one call or connection: an error of ours ends no other."""

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


def guarded(work: Callable[..., object], *given: object) -> bool:
    """Do `work`; False, and a line in the log, if it raised what it must not."""
    try:
        work(*given)
    except Exception:  # noqa: BLE001 - the barrier
        _log.exception("a call to a tool's server, or a connection, ended by an error of ours")
        return False
    return True
