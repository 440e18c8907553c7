"""A share of the process for each holder of certificates."""

import pytest

from crewgate.api.caller_concurrency_limit import CallerConcurrencyLimiter
from crewgate.errors import ControlError


def test_each_holder_has_a_share_of_its_own() -> None:
    """One over it is 429, another holder goes on, and a place that is left is free again."""
    limiter = CallerConcurrencyLimiter(2)
    with limiter.enter("a"), limiter.enter("a"), limiter.enter("b"):
        with pytest.raises(ControlError) as refused, limiter.enter("a"):
            pass
        assert refused.value.status == 429
    with limiter.enter("a"):
        assert limiter._active == {"a": 1}
    assert not limiter._active


def test_a_failure_gives_the_place_back() -> None:
    """Whatever ends the work."""
    limiter = CallerConcurrencyLimiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.enter("a"):
            raise ZeroDivisionError
