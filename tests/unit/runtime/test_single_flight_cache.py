"""An answer that is asked for once and shared."""

import threading

import pytest

from crewgate.errors import ServiceConnectionError
from crewgate.runtime.single_flight_cache import SingleFlightCache


def test_it_is_made_again_only_when_it_is_old() -> None:
    """However often it is asked for meanwhile."""
    now, made = [0.0], []

    def make() -> int:
        made.append(now[0])
        return len(made)

    shared = SingleFlightCache(make, 1.0, lambda: now[0])
    assert shared.fresh() is None
    assert [shared.get() for _ in range(5)] == [1] * 5
    now[0] = 0.99
    assert (shared.fresh(), shared.get()) == (1, 1)
    now[0] = 1.0
    assert shared.fresh() is None
    assert (shared.get(), made) == (2, [0.0, 1.0])


def test_who_comes_while_it_is_made_gets_that_one() -> None:
    """A hundred at once cost one question."""
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make() -> int:
        begun.set()
        go_on.wait(20)
        made.append(1)
        return 1

    shared = SingleFlightCache(make, 60.0)
    threads = [threading.Thread(target=shared.get) for _ in range(100)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    go_on.set()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_is_not_kept() -> None:
    """The next one asks again."""
    answers: list[object] = [ServiceConnectionError("away"), 7]

    def make() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = SingleFlightCache(make, 1.0)
    with pytest.raises(ServiceConnectionError):
        shared.get()
    assert shared.get() == 7
