"""This machine's list of the revoked, as its peers are handed it and as it takes theirs.

Is a `gossip.revocation_lists.CRLExchange`. If something is wrong with a list, it says so once, and
the conversation goes on: in it peers compare revocations, which they obey without the list too. A
member whose list was no good hands over none for a while; the others do.
"""

import threading
from collections.abc import Callable

import msgspec

from crewgate import limits
from crewgate.ca.crl_replica import CRLReplica, SignedCRL
from crewgate.config import CAConfig, Config
from crewgate.errors import AuthorityError
from crewgate.gossip.revocation_lists import CRLVersion

_AGAIN = limits.gossip_list_again_seconds


class _Refused(msgspec.Struct, frozen=True):
    """What was wrong with a member's last list; empty for one that was only not newer."""

    why: str
    until: float  # the member hands over none before


class ClusterCRLExchange:
    """The list that `config` names when it is asked for; a reload may have changed that.

    `wall` is seconds since the epoch, `now` seconds of a clock that does not jump, `name` what a
    member is called.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        wall: Callable[[], float],
        now: Callable[[], float],
        name: Callable[[bytes], str],
    ) -> None:
        self._config = config
        self._wall = wall
        self._now = now
        self._name = name
        self._kept: CRLReplica | None = None
        self._turn = threading.Lock()
        self._refused: dict[bytes, _Refused] = {}  # by member, the latest last
        self._not_before = 0.0  # from anybody, because of something here
        self._trouble = self._said = ""  # of this machine's own list and disk
        self._news: list[str] = []

    def version(self, member: bytes) -> CRLVersion:
        """See `CRLExchange`."""
        kept, held = self._current(), self._held()
        takes = kept is not None and not kept.is_signed_here and self._takes_from(member)
        if held is None or held.next_update <= self._wall():
            return CRLVersion(takes=takes)  # one that is over is as good as none
        return CRLVersion(held.authority, held.number, takes)

    def data(self) -> bytes:
        """See `CRLExchange`."""
        held = self._held()
        return b"" if held is None else held.data

    def take(self, data: bytes, member: bytes) -> None:
        """See `CRLExchange`."""
        kept = self._current()
        if kept is None or not data:
            return
        try:
            found = kept.take(data)
        except AuthorityError as error:
            if isinstance(error.__cause__, OSError):  # the disk here: no fault of the member
                self._not_before = self._now() + _AGAIN
                self._trouble = f"the list of the revoked of a peer cannot be kept: {error}"
            else:
                self._refuse(member, str(error))
            return
        self._trouble = self._said = ""
        if found is None:  # it had said that its list is newer; or another was faster
            self._refuse(member, "")
        else:
            with self._turn:
                self._refused.pop(member, None)

    def take_message(self) -> str:
        """See `CRLExchange`."""
        with self._turn:
            take_message, self._news = self._news, []
            if self._trouble != self._said:
                take_message.append(self._trouble)
                self._said = self._trouble
        return "; ".join(take_message)

    def invalid(self) -> str:
        """The latest member whose list was no good, why, and how many more; empty for none."""
        with self._turn:
            bad = [(member, each.why) for member, each in self._remembered().items() if each.why]
        if not bad:
            return ""
        member, why = bad[-1]
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        return f"{self._name(member)}: {why}{more}"

    def _takes_from(self, member: bytes) -> bool:
        with self._turn:
            refused = self._refused.get(member)
        now = self._now()
        return now >= self._not_before and (refused is None or now >= refused.until)

    def _refuse(self, member: bytes, why: str) -> None:
        with self._turn:
            self._refused = self._remembered()
            before = self._refused.pop(member, None)
            if len(self._refused) >= limits.gossip_members_max:
                del self._refused[next(iter(self._refused))]
            self._refused[member] = _Refused(why, self._now() + _AGAIN)
            if why and (before is None or before.why != why):
                self._news.append(
                    f"the list of the revoked that {self._name(member)} has is not kept: {why}"
                )

    def _remembered(self) -> dict[bytes, _Refused]:
        """Those that may still be at it: such a member is asked again once its time is up."""
        since = self._now() - _AGAIN
        return {member: each for member, each in self._refused.items() if each.until > since}

    def _held(self) -> SignedCRL | None:
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

    def _current(self) -> CRLReplica | None:
        config = self._config()
        ca: CAConfig | None = config.ca
        if ca is None:
            self._kept = None
        elif self._kept is None or self._kept.ca != ca:
            chains = [] if config.cluster is None else [config.cluster.certificate]
            self._kept = CRLReplica(ca, config.state, chains, self._wall)
        return self._kept
