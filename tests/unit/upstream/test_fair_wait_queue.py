"""Who waits for a connection: in turns by reuse key, crew and branch, counted, not for ever."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from crewgate.upstream.fair_wait_queue import FairWaitQueue


class Waiting:
    """A caller."""

    over = False

    def __init__(self, key: str, number: int = 0, *turn: str) -> None:
        self.reuse_key, self.number, self.wait_turn = key, number, turn or ("",)

    def __repr__(self) -> str:
        return f"{self.reuse_key}{self.number}"


def _queue(keys: str, each: int = 1) -> FairWaitQueue:
    queue = FairWaitQueue(each)
    for number, key in enumerate(keys):
        queue.append((Waiting(key, number), 10.0))  # type: ignore[arg-type]
    return queue


def _taken(queue: FairWaitQueue) -> list[str]:
    return [repr(queue.popleft()[0]) for _ in range(len(queue))]


def test_of_one_branch_calls_are_served_as_they_came() -> None:
    """First come, first served."""
    assert _taken(_queue("aaa")) == ["a0", "a1", "a2"]


def test_a_branch_with_many_calls_keeps_no_other_one_waiting() -> None:
    """Several keys: one of each in turn."""
    assert _taken(_queue("aaaabbc")) == ["a0", "b4", "c6", "a1", "b5", "a2", "a3"]


def test_among_those_who_share_crews_take_turns_and_their_branches() -> None:
    """Neither a crew with many branches nor a branch with many calls keeps others waiting."""
    queue = FairWaitQueue()
    for number, turn in enumerate(["xa", "xa", "xa", "xb", "xc", "ya", "ya"]):
        queue.append((Waiting("", number, *turn), 10.0))  # type: ignore[arg-type]
    entry = queue.popleft()
    queue.put_back(entry)
    assert queue.popleft() is entry
    assert queue.needed == 6
    queue.put_back(entry)
    assert _taken(queue) == ["0", "5", "3", "6", "4", "1", "2"]


def test_who_is_put_back_is_next_again() -> None:
    """And waits no longer than it did."""
    queue = _queue("aab")
    entry = queue.popleft()
    queue.put_back(entry)
    assert queue.popleft() is entry
    assert _taken(queue) == ["b2", "a1"]


def test_who_has_waited_too_long_or_is_over_goes() -> None:
    """All others keep their place."""
    queue = _queue("aab")
    next(iter(queue)).over = True  # type: ignore[misc]
    queue.append((Waiting("c"), 4.0))  # type: ignore[arg-type]
    assert [repr(caller) for caller in queue.take_expired(5.0)] == ["a0", "c0"]
    assert (len(queue), queue.needed) == (2, 2)
    assert _taken(queue) == ["a1", "b2"]


@given(
    each=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["a", "b", "c", "pop", "back", "expire"]), max_size=60),
)
def test_the_connections_needed_are_those_of_each_key(each: int, steps: list[str]) -> None:
    """Beside a model that counts anew each time: a connection carries `each` calls of one key."""
    queue, model = FairWaitQueue(each), {key: deque() for key in "abc"}
    for number, step in enumerate(steps):
        if step in model:
            caller = Waiting(step, number)
            queue.append((caller, 10.0))  # type: ignore[arg-type]
            model[step].append(caller)
        elif step == "expire":
            queue.take_expired(5.0)
        elif len(queue):
            entry = queue.popleft()
            assert entry[0] is model[entry[0].reuse_key].popleft()  # type: ignore[index]
            if step == "back":
                queue.put_back(entry)
                model[entry[0].reuse_key].appendleft(entry[0])  # type: ignore[index]
        assert len(queue) == sum(map(len, model.values()))
        assert queue.needed == sum(-(-len(waiting) // each) for waiting in model.values())
