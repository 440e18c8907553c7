"""Bad tokens by the address that shows them: who is slowed, and why nobody is banned.

A token that no key signed costs 60 µs to find out, and its holder cannot be told from anybody else
behind the same address. So an address that shows them faster than its bucket refills gets each of
them answered as always, and the *connection* that showed it is not read again until the next sweep,
a second at most; beyond a number of its own, a connection is drained, as any is that has done its
work. Other connections of the address are untouched, and nothing is refused that would not have
been. Holding costs us nothing and whoever retries in a loop a second; closing at once would cost us
a handshake, twenty times the check. It tells nothing that the answer does not tell: all that is
answered `invalid-token` counts alike, whichever check failed.

A proxy that pools many clients on few connections shares their holds among them: this gateway is
the edge, and wants its clients' own connections.

Kept for one listener. Forgets the addresses that were seen least lately.
"""

from typing import Protocol

from crewgate import limits
from crewgate.server.connection_limit import client_network
from crewgate.server.request import ClientInfo


class AnsweredExchange(Protocol):
    """A request, as far as it matters here."""

    peer: ClientInfo

    def distrust(self, *, hold: bool) -> None:
        """Count a bad token of this connection, and do not read it for a while if told so."""


class BadTokenLimiter:
    """A bucket for each address, as the time at which it will be full again (GCRA)."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def note(self, exchange: AnsweredExchange, now: float) -> None:
        """Take note of a bad token, before it is answered; `now` is monotonic, in seconds."""
        exchange.distrust(hold=not self._has_room(client_network(exchange.peer.address), now))

    def _has_room(self, address: str, now: float) -> bool:
        """Take one from the bucket of `address`; False if it is empty."""
        full_at = max(self._full_at.pop(address, 0.0), now)
        each = 1 / limits.bad_tokens_per_second
        room = full_at - now < (limits.bad_tokens_burst - 0.5) * each  # the half is for rounding
        if len(self._full_at) >= limits.bad_token_addresses_max:
            del self._full_at[next(iter(self._full_at))]  # seen least lately
        self._full_at[address] = full_at + each if room else full_at
        return room
