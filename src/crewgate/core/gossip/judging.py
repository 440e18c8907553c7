"""Which capsules are good: those that an origin with the right to revoke has signed.

A signature takes longer to verify than all else that is done with a capsule. But each names the one
before it by its digest, so that who signed one has signed that too: of a million that come the
newest first, one signature is verified. What is named is good only as long as what names it is
kept: then whoever is handed both, in that order, finds the same.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from crewgate.core.gossip import capsules
from crewgate.core.gossip.archive import Archive
from crewgate.core.gossip.capsules import Capsule
from crewgate.errors import GossipError

Name = tuple[bytes, int, bytes]  # a line, a number and the digest of its capsule


class Good(NamedTuple):
    """A capsule that its origin has signed; if `beside`, by another that is handed over with it."""

    capsule: Capsule
    beside: bool


class Judging:
    """By what is in the `archive`; for `verify` see `effects.Crypto`."""

    def __init__(self, archive: Archive, verify: Callable[[Capsule, bool], bool]) -> None:
        self._archive = archive
        self._verify = verify

    def __repr__(self) -> str:
        return f"<Judging by {self._archive!r}>"

    def new(self, raws: Iterable[bytes]) -> list[Good]:
        """What of these is not here; GossipError if there is one among them that is no good."""
        found: list[Good] = []
        named: dict[Name, int] = {}  # until when what names it is kept
        for raw in raws:
            if self._archive.knows(raw):
                continue
            capsule = capsules.decode(raw)
            line, number, expires = capsule.line, capsule.number, capsule.expires
            name = line, number, capsules.digest_of(raw)
            is_named = self._is_named(name, expires)
            beside = not is_named and named.get(name, 0) >= expires
            if not self._verify(capsule, is_named or beside):
                raise GossipError("a capsule that no origin signed")
            before = line, number - 1, capsules.previous_of(raw)
            named[before] = max(expires, named.get(before, 0))
            found.append(Good(capsule, beside))
        return found

    def stands(self, good: Good) -> bool:
        """Whether it is good by what is here now: for what was beside it there may be no room.

        By the word of that alone it would be kept, and nobody could be handed it.
        """
        capsule = good.capsule
        name = capsule.line, capsule.number, capsules.digest_of(capsule.raw)
        is_named = not good.beside or self._is_named(name, capsule.expires)
        return is_named or self._verify(capsule, is_named)

    def _is_named(self, name: Name, expires: int) -> bool:
        """Whether one that is here, and stays as long, names it."""
        line, number, digest = name
        return any(
            capsules.previous_of(raw) == digest and capsules.expires_of(raw) >= expires
            for raw in self._archive.of(line, number + 1)
        )
