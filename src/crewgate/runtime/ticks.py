"""Common ticks for the periodic loops of one process.

A loop that wakes an idle process costs more than what it does. Loops with the same pause that sleep
until the same tick wake the process once for all of them.
"""

import math

import trio


def next_tick(seconds: float, after: float = 0.0) -> float:
    """Return the next time of Trio's clock that is a multiple of `seconds`, plus `after`."""
    return (math.floor((trio.current_time() - after) / seconds) + 1) * seconds + after


async def sleep_until_tick(seconds: float, after: float = 0.0) -> None:
    """Sleep until the next tick: for `seconds` at most.

    With `after`, a loop uses what other loops have begun at the tick.
    """
    await trio.sleep_until(next_tick(seconds, after))
