"""How the demo is ended before its story is over."""

import signal
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crewgate.cli.commands.demo import handle_signals
from crewgate.errors import DemoError


class Interrupted:
    """Ctrl-C comes while its destructor runs, where Python ignores what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("come", "expected"),
    [
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
        (Interrupted, KeyboardInterrupt),
        (lambda: signal.raise_signal(signal.SIGTERM), DemoError),
    ],
    ids=["ctrl-c", "ctrl-c in a destructor", "SIGTERM"],
)
def test_a_signal_ends_it(come: Callable[[], object], expected: type[BaseException]) -> None:
    """Wherever the program is when it comes."""

    async def play() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle_signals)
            await wait_all_tasks_blocked()
            come()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(play)
    assert caught.group_contains(expected)
