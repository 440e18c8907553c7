"""Decides which capsules are good: those that an origin with the right to revoke has signed.

A signature takes longer to verify than everything else that is done with a capsule. But each
capsule names the capsule before it by its digest, so an origin that signed the later one has signed
both. Of a million capsules that arrive the newest first, one signature is verified.

A capsule that is named is good only while the one that names it is stored here. Then a member that
receives both from here, in this order, comes to the same result, if it has room for both.

An origin that lies can make one machine find a capsule good, and another machine not. So a capsule
that is not good is left out alone: it does not keep other capsules from anybody. No honest origin
has made such a capsule.
"""

from collections.abc import Callable, Iterable

from crewgate.core.gossip import capsules
from crewgate.core.gossip.capsule_store import CapsuleStore
from crewgate.core.gossip.capsules import Capsule
from crewgate.errors import GossipError


class CapsuleVerifier:
    """Verifies capsules, with `CapsuleCrypto.verify` and the capsules in `archive`."""

    def __init__(self, archive: CapsuleStore, verify: Callable[[Capsule, bool], bool]) -> None:
        self._archive = archive
        self._verify = verify

    def new(self, raws: Iterable[bytes]) -> list[Capsule]:
        """Return those that are not stored. Call `is_good` for each when the one before is stored.

        GossipError if no certificate that is here allows the origin of one of them to sign it: it
        may be good by a certificate that has not arrived yet.
        """
        found = [capsules.decode(raw) for raw in raws if not self._archive.knows(raw)]
        for capsule in found:
            if not self._verify(capsule, True):  # noqa: FBT003 -- as Crypto has it
                raise GossipError(
                    f"capsule {capsule.id.hex()}: no certificate here allows its origin to sign it"
                )
        return found

    def is_good(self, capsule: Capsule) -> bool:
        """Return whether the origin has signed a new capsule, by what is stored now."""
        return self._is_named(capsule) or self._verify(capsule, False)  # noqa: FBT003 -- the same

    def _is_named(self, capsule: Capsule) -> bool:
        """Return whether a stored capsule that does not expire earlier names this one."""
        after = self._archive.of(capsule.line, capsule.number + 1)
        if not after:
            return False
        digest, expires = capsules.digest_of(capsule.raw), capsule.expires
        return any(
            capsules.previous_of(raw) == digest and capsules.expires_of(raw) >= expires
            for raw in after
        )
