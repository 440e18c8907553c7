"""Waiting for what tells nobody that it has come: other processes, files, a load that rests."""

from collections.abc import Callable

import trio


async def until(true: Callable[[], bool], every: float) -> None:
    """Look again and again, `every` so many seconds; the caller bounds it."""
    while not true():  # noqa: ASYNC110 - nothing here could set an event
        await trio.sleep(every)
