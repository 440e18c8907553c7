"""Exchanges the certificate revocation list (CRL) with the other members.

It implements `gossip.crl_negotiation.LocalCRL`. An invalid CRL is logged once and does not end
the sync with the member, because the revocations in the sync take effect without the CRL, too. This
machine takes no CRL of such a member for a while, but those of the others.
"""

import threading
from collections.abc import Callable

import msgspec

from crewgate import limits
from crewgate.ca.crl_replica import CRLReplica, SignedCRL
from crewgate.config import CAConfig, Config
from crewgate.errors import CAError
from crewgate.gossip.crl_negotiation import CRLVersion

_RETRY_SECONDS = limits.gossip_list_again_seconds


class _Refused(msgspec.Struct, frozen=True):
    """Why a member's last CRL was rejected (empty: it was not newer), and until when to take none.

    `until` is on the clock of `now`.
    """

    why: str
    until: float


class ClusterCRLExchange:
    """The CRL of the active configuration, which `config` returns.

    `wall` returns seconds since 1970, `now` seconds of a clock that does not jump, and `name` the
    name of a member.
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
        # By member, the latest last.
        self._refused: dict[bytes, _Refused] = {}
        # Until when to take no CRL at all, because of an error on this machine.
        self._not_before = 0.0
        # The error of this machine's own CRL or disk, and the last one that was logged.
        self._trouble = self._logged = ""
        self._new_messages: list[str] = []

    def version(self, member: bytes) -> CRLVersion:
        """See `LocalCRL`."""
        kept, held = self._current(), self._held()
        takes = kept is not None and not kept.is_signed_here and self._takes_from(member)
        if held is None or held.next_update <= self._wall():
            # An outdated CRL is worth no more than none.
            return CRLVersion(takes=takes)
        return CRLVersion(held.authority, held.number, takes)

    def data(self) -> bytes:
        """See `LocalCRL`."""
        held = self._held()
        return b"" if held is None else held.data

    def take(self, data: bytes, member: bytes) -> None:
        """See `LocalCRL`."""
        kept = self._current()
        if kept is None or not data:
            return
        try:
            found = kept.take(data)
        except CAError as error:
            # An error of this machine's disk is no fault of the member.
            if isinstance(error.__cause__, OSError):
                self._not_before = self._now() + _RETRY_SECONDS
                self._trouble = f"this machine cannot store the CRL of a peer: {error}"
            else:
                self._refuse(member, str(error))
            return
        self._trouble = self._logged = ""
        # The member claimed a newer CRL than it has, or another member was faster.
        if found is None:
            self._refuse(member, "")
        else:
            with self._turn:
                self._refused.pop(member, None)

    def take_message(self) -> str:
        """See `LocalCRL`."""
        with self._turn:
            messages, self._new_messages = self._new_messages, []
            if self._trouble != self._logged:
                messages.append(self._trouble)
                self._logged = self._trouble
        return "; ".join(messages)

    def invalid(self) -> str:
        """Return the last member whose CRL was rejected, why, and how many more; empty for none."""
        with self._turn:
            invalid = [(member, each.why) for member, each in self._recent().items() if each.why]
        if not invalid:
            return ""
        member, why = invalid[-1]
        more = f", and {len(invalid) - 1} more" if len(invalid) > 1 else ""
        return f"{self._name(member)}: {why}{more}"

    def _takes_from(self, member: bytes) -> bool:
        with self._turn:
            refused = self._refused.get(member)
        now = self._now()
        return now >= self._not_before and (refused is None or now >= refused.until)

    def _refuse(self, member: bytes, why: str) -> None:
        with self._turn:
            self._refused = self._recent()
            last = self._refused.pop(member, None)
            if len(self._refused) >= limits.gossip_members_max:
                del self._refused[next(iter(self._refused))]
            self._refused[member] = _Refused(why, self._now() + _RETRY_SECONDS)
            if why and (last is None or last.why != why):
                self._new_messages.append(f"rejected the CRL of {self._name(member)}: {why}")

    def _recent(self) -> dict[bytes, _Refused]:
        """Return the members that have not had the time to offer another CRL since."""
        since = self._now() - _RETRY_SECONDS
        return {member: each for member, each in self._refused.items() if each.until > since}

    def _held(self) -> SignedCRL | None:
        kept = self._current()
        held = kept.held() if kept is not None else None
        if held is not None and len(held.data) > limits.gossip_list_bytes_max:
            self._trouble = (
                f"the CRL has over {limits.gossip_list_bytes_max} bytes, so this machine sends it "
                "to no peer; copy the file to the other machines"
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
