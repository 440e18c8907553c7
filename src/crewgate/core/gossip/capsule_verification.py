"""Which capsules are good: those that an origin with the right to revoke has signed.

A signature takes longer to verify than all else that is done with a capsule. But each names the one
before it by its digest, so that who signed one has signed that too: of a million that come the
newest first, one signature is verified. What is named is good only as long as what names it is
here: then whoever is handed both, in that order, finds the same, if there is room for both.

An origin that lies can have two machines find different things good. So what is not good keeps
nothing else from anybody: it is left out, and no origin that tells the truth has made it.
"""

from collections.abc import Callable, Iterable

from crewgate.core.gossip import capsules
from crewgate.core.gossip.capsule_store import CapsuleStore
from crewgate.core.gossip.capsules import Capsule
from crewgate.errors import GossipError


class CapsuleVerifier:
    """By what is in the `archive`; for `verify` see `effects.CapsuleCrypto`."""

    def __init__(self, archive: CapsuleStore, verify: Callable[[Capsule, bool], bool]) -> None:
        self._archive = archive
        self._verify = verify

    def __repr__(self) -> str:
        return f"<CapsuleVerifier by {self._archive!r}>"

    def new(self, raws: Iterable[bytes]) -> list[Capsule]:
        """What of these is not here, to be judged one after the other, as each is kept.

        GossipError if there is one among them of which nobody here could tell: it may be good, by a
        certificate that has not come.
        """
        found = [capsules.decode(raw) for raw in raws if not self._archive.knows(raw)]
        if not all(self._verify(capsule, True) for capsule in found):  # noqa: FBT003 -- as Crypto has it
            raise GossipError("a capsule that no origin may have signed")
        return found

    def is_good(self, capsule: Capsule) -> bool:
        """Whether a new one was signed, by what is here now."""
        return self._is_named(capsule) or self._verify(capsule, False)  # noqa: FBT003 -- the same

    def _is_named(self, capsule: Capsule) -> bool:
        """Whether one that is here, and stays as long, names it."""
        after = self._archive.of(capsule.line, capsule.number + 1)
        if not after:
            return False
        digest, expires = capsules.digest_of(capsule.raw), capsule.expires
        return any(
            capsules.previous_of(raw) == digest and capsules.expires_of(raw) >= expires
            for raw in after
        )
