"""Contains an internal error in the work for one call or connection, so that it ends no other."""

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


def run_isolated(work: Callable[..., object], *args: object) -> bool:
    """Call `work(*args)`; if it raises an Exception, log that and return False."""
    try:
        work(*args)
    except Exception:  # noqa: BLE001 - the barrier
        _log.exception("ending one call or connection to a tool's server: internal error")
        return False
    return True
