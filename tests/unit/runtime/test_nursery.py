"""A nursery that raises an error of its body as it is."""

import pytest
import trio

from crewgate.runtime.nursery import open_nursery


async def test_an_error_of_the_body_ends_the_tasks_and_is_in_no_group() -> None:
    """The caller can handle its type."""

    async def fail() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        await fail()


async def test_without_an_error_it_waits_for_the_tasks() -> None:
    """As Trio's own does."""
    done = trio.Event()

    async def task() -> None:
        await trio.lowlevel.checkpoint()
        done.set()

    async with open_nursery() as nursery:
        nursery.start_soon(task)
    assert done.is_set()
