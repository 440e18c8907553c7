"""How the demo is ended before its story is over."""

import signal

import pytest
import trio
import trio.testing

from crewgate.cli.demo import heed_signals
from crewgate.errors import StoryError


class Ended:
    """Ctrl-C comes while its destructor runs, where Python ignores what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, StoryError)]
)
def test_a_signal_ends_it(number: signal.Signals, expected: type[BaseException]) -> None:
    async def play() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heed_signals)
            await trio.testing.wait_all_tasks_blocked()
            signal.raise_signal(number)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(play)
    assert caught.group_contains(expected)


def test_ctrl_c_is_lost_nowhere() -> None:
    async def play() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heed_signals)
            await trio.testing.wait_all_tasks_blocked()
            Ended()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(play)
    assert caught.group_contains(KeyboardInterrupt)
