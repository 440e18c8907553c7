"""Opens a Trio nursery that raises an error of its body as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """Yield a nursery. If the body raises an error, cancel the tasks, and raise that error.

    Trio's own nursery would raise it in an exception group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
