"""Slows connections that send bad tokens, with a token bucket for each client address.

A bad token costs 60 µs to check, and so does a bad proof of the key of a good token. Its sender
cannot be told from other clients behind the same address. So no address is banned:

1. Every bad token is answered as usual.
2. If the bucket of the address is empty, the *connection* that sent it is not read again until the
   next sweep, at most a second later. Other connections of the address are not affected.
3. A connection that has sent too many bad tokens of its own is drained.

A held connection costs the gateway nothing, and a client that retries in a loop a second. Closing
at once would cost the gateway a handshake, twenty times the check. A hold reveals nothing that the
answer does not: every `invalid-token` counts alike, whichever check failed.

If a proxy pools many clients on few connections, its clients share the holds. The gateway is meant
to be the edge, with its clients' own connections.
"""

from crewgate import limits
from crewgate.server.connection_limit import client_network
from crewgate.server.exchange import Exchange


class BadTokenThrottle:
    """The token buckets of one listener, by client network.

    A bucket is the time at which it will be full again (GCRA). When there are too many, the one
    that was used least recently is dropped.
    """

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    def note(self, exchange: Exchange, now: float) -> None:
        """Count a bad token before it is answered; `now` is the monotonic clock in seconds."""
        exchange.distrust(hold=not self._has_room(client_network(exchange.peer.address), now))

    def _has_room(self, address: str, now: float) -> bool:
        """Take one from the bucket of `address`; False if it is empty."""
        full_at = max(self._full_at.pop(address, 0.0), now)
        each = 1 / limits.bad_tokens_per_second
        # Half a token of tolerance, for rounding.
        has_room = full_at - now < (limits.bad_tokens_burst - 0.5) * each
        if len(self._full_at) >= limits.bad_token_addresses_max:
            oldest = next(iter(self._full_at))
            del self._full_at[oldest]
        self._full_at[address] = full_at + each if has_room else full_at
        return has_room
