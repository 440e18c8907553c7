"""The ids of requests."""

from crewgate import limits
from crewgate._native.request_id import RequestIds


def test_ids_differ() -> None:
    """Each has 16 bytes, also where one block of random bytes ends and the next begins."""
    ids = RequestIds()
    made = [next(ids) for _ in range(2 * limits.request_ids_at_once + 3)]
    assert {len(each) for each in made} == {16}
    assert len(set(made)) == len(made)
    assert len({each[:8] for each in made} | {each[8:] for each in made}) == 2 * len(made)
