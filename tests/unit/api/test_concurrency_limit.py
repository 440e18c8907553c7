"""A share of the process for each holder of certificates."""

import pytest

from crewgate.api.concurrency_limit import ConcurrencyLimiter
from crewgate.errors import ControlError


def test_each_holder_has_a_share_of_its_own() -> None:
    """One over it is 429, another holder goes on, and a place that is left is free again."""
    turnstile = ConcurrencyLimiter(2)
    with turnstile.enter("a"), turnstile.enter("a"), turnstile.enter("b"):
        with pytest.raises(ControlError) as refused, turnstile.enter("a"):
            pass
        assert refused.value.status == 429
    with turnstile.enter("a"):
        assert repr(turnstile) == "<ConcurrencyLimiter {'a': 1}>"
    assert repr(turnstile) == "<ConcurrencyLimiter {}>"


def test_a_failure_gives_the_place_back() -> None:
    """Whatever ends the work."""
    turnstile = ConcurrencyLimiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turnstile.enter("a"):
            raise ZeroDivisionError
