"""This machine's list of the revoked, as its peers are handed it and as it takes theirs.

Is `peers.lists.Lists`. If something is wrong with a list, it says so once, and the conversation
goes on: in it peers compare revocations, which they obey without the list too.
"""

from collections.abc import Callable

from crewgate import limits
from crewgate.config import CA, Config
from crewgate.errors import AuthorityError
from crewgate.peers.lists import ListMark
from crewgate.pki.revocation_list import KeptList, SignedList


class PeerLists:
    """The list that `config` names when it is asked for; a reload may have changed that.

    `wall` is seconds since the epoch, `now` seconds of a clock that does not jump.
    """

    def __init__(
        self, config: Callable[[], Config], wall: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._config = config
        self._wall = wall
        self._now = now
        self._kept: KeptList | None = None
        self._trouble = self._said = ""
        self._not_before = 0.0

    def __repr__(self) -> str:
        return f"<PeerLists {self._kept!r}>"

    def mark(self) -> ListMark:
        """See `Lists`."""
        kept, held = self._current(), self._held()
        takes = kept is not None and not kept.is_signed_here and self._now() >= self._not_before
        if held is None or held.next_update <= self._wall():
            return ListMark(takes=takes)  # one that is over is as good as none
        return ListMark(held.authority, held.number, takes)

    def data(self) -> bytes:
        """See `Lists`."""
        held = self._held()
        return b"" if held is None else held.data

    def take(self, data: bytes) -> None:
        """See `Lists`."""
        kept = self._current()
        if kept is None or not data:
            return
        try:
            kept.take(data)
        except AuthorityError as error:
            self._not_before = self._now() + limits.gossip_list_again_seconds
            self._trouble = f"the list of the revoked that a peer has is not kept: {error}"
        else:
            self._trouble = self._said = ""

    def news(self) -> str:
        """See `Lists`."""
        news = "" if self._trouble == self._said else self._trouble
        self._said = self._trouble
        return news

    def _held(self) -> SignedList | None:
        """What can be handed over."""
        kept = self._current()
        held = kept.held() if kept is not None else None
        if held is not None and len(held.data) > limits.gossip_list_bytes_max:
            self._trouble = (
                f"the list of the revoked has over {limits.gossip_list_bytes_max} bytes, so no "
                "peer is handed it; copy the file there"
            )
            return None
        return held

    def _current(self) -> KeptList | None:
        config = self._config()
        ca: CA | None = config.ca
        if ca is None:
            self._kept = None
        elif self._kept is None or self._kept.ca != ca:
            chains = [] if config.cluster is None else [config.cluster.certificate]
            self._kept = KeptList(ca, config.state, chains, self._wall)
        return self._kept
