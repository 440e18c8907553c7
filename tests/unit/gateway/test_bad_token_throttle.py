"""Bad tokens by address: what is held, for how long, and who is left alone."""

from crewgate import limits
from crewgate.gateway.bad_token_throttle import BadTokenThrottle
from crewgate.server.request import ClientInfo


class Shower:
    """An exchange of one address; keeps whether its connection was held."""

    def __init__(self, address: str) -> None:
        self.peer = ClientInfo(address)
        self.held: list[bool] = []

    def distrust(self, *, hold: bool) -> None:
        self.held.append(hold)


def _show(strangers: BadTokenThrottle, address: str, count: int, now: float) -> list[bool]:
    exchange = Shower(address)
    for _ in range(count):
        strangers.note(exchange, now)
    return exchange.held


def test_a_burst_is_borne_and_then_held() -> None:
    """As many as the burst go unheld, all further ones are held, and each is counted."""
    held = _show(BadTokenThrottle(), "192.0.2.1", limits.bad_tokens_burst + 3, 50.0)
    assert held == [False] * limits.bad_tokens_burst + [True] * 3


def test_the_bucket_refills_at_its_rate() -> None:
    """Held ones take nothing from it: a second later a second's worth goes unheld, not less."""
    strangers = BadTokenThrottle()
    _show(strangers, "192.0.2.1", 3 * limits.bad_tokens_burst, 50.0)
    held = _show(strangers, "192.0.2.1", limits.bad_tokens_per_second + 1, 51.0)
    assert held == [False] * limits.bad_tokens_per_second + [True]
    whole = limits.bad_tokens_burst / limits.bad_tokens_per_second
    held = _show(strangers, "192.0.2.1", limits.bad_tokens_burst + 1, 52.0 + whole)
    assert held.index(True) == limits.bad_tokens_burst


def test_other_addresses_are_not_touched() -> None:
    """One address's bucket is its own; with IPv6, a /64 has one."""
    strangers = BadTokenThrottle()
    _show(strangers, "192.0.2.1", 2 * limits.bad_tokens_burst, 50.0)
    _show(strangers, "2001:db8::1", limits.bad_tokens_burst, 50.0)
    assert _show(strangers, "192.0.2.2", 1, 50.0) == [False]
    assert _show(strangers, "2001:db8::2", 1, 50.0) == [True]
    assert _show(strangers, "2001:db8:0:1::1", 1, 50.0) == [False]


def test_memory_is_bounded() -> None:
    """A thousand addresses more than are remembered push out those seen least lately."""
    strangers = BadTokenThrottle()
    _show(strangers, "192.0.2.1", 2 * limits.bad_tokens_burst, 50.0)
    for number in range(limits.bad_token_addresses_max + 1000):
        _show(strangers, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1, 50.0)
        if number % 1000 == 0:
            assert _show(strangers, "192.0.2.1", 1, 50.0) == [True]  # it is still showing them
    assert len(strangers._full_at) == limits.bad_token_addresses_max
