"""Who the members are: their certificates, kept as long as their words.

A member is a gateway by the name in its certificates. A capsule is judged by the certificate that
its origin had when it signed: the origin's key stays over renewals. Times are whole seconds of the
wall clock.
"""

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule
from crewgate.errors import GossipError
from crewgate.peers.credentials import Credential, Known, Trust


def sent_away(folder: Path) -> dict[bytes, int]:
    """Members, and until when issued certificates of theirs are none's, as `folder` has it."""
    found = {}
    for path in sorted(folder.glob("*.gone")):
        with suppress(OSError, ValueError):
            found[bytes.fromhex(path.stem)] = int(path.read_text())
    return found


class Directory:
    """All gateways that were ever seen here, by their certificates; each also a file of `folder`.

    Members are those that nobody has sent away since their newest certificate was issued; the
    certificates of the others are kept for what they have signed.
    """

    def __init__(self, folder: Path, trust: Trust, cluster: bytes) -> None:
        """Make the folder, if it is not there; OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self.gone: dict[bytes, int] = {}  # members, and until when issued certificates are none's
        self._folder = folder
        self._trust = trust
        self._cluster = cluster
        self._known: dict[bytes, list[Known]] = {}  # the newest last
        self._by_leaf: dict[bytes, Known] = {}

    def __repr__(self) -> str:
        return f"<Directory gateways={len(self._known)} gone={len(self.gone)}>"

    def __iter__(self) -> Iterator[Known]:
        """Each member by its newest certificate."""
        return (known[-1] for member, known in self._known.items() if member in self)

    def __contains__(self, member: object) -> bool:
        known = self._known.get(member) if isinstance(member, bytes) else None
        return known is not None and known[-1].issued > self.gone.get(known[-1].id, -1)

    def get(self, member: bytes) -> Known | None:
        """A gateway by its newest certificate, member or not."""
        known = self._known.get(member)
        return known[-1] if known else None

    def name(self, member: bytes) -> str:
        """For people; its id where that is all that is known."""
        known = self.get(member)
        return known.name if known else member.hex()

    def restore(self) -> None:
        """Read what the folder has; OSError."""
        self.gone = sent_away(self._folder)
        for path in sorted(self._folder.glob("*.member")):
            try:
                credential = msgspec.msgpack.decode(path.read_bytes(), type=Credential)
                known = self._trust.check(credential)
            except (OSError, msgspec.DecodeError, GossipError):
                continue  # another CA's, or torn: whoever it is shows it again
            if not self._add(known):
                kept = self._by_leaf.get(credential.chain[0])
                if kept is None or self._path(kept) != path:  # where it was before
                    path.unlink(missing_ok=True)

    def drop(self, now: int, origins: Container[bytes]) -> None:
        """Forget who was sent away, and whose certificates have long expired; OSError.

        None of `origins`: whoever is handed what it has signed judges it by them.
        """
        for member in [each for each in self.gone if each not in origins]:
            for known in [*self._known.get(member, ())]:
                if known.not_after + limits.clock_distrust_seconds < now:
                    self._forget(known)
            if not self._known.get(member):
                self._known.pop(member, None)
                del self.gone[member]
                self._gone_path(member).unlink(missing_ok=True)

    def check(self, credential: Credential) -> Known:
        """Who that is, though its address is not signed yet; GossipError."""
        return self._trust.read(credential)

    def admit(self, credential: Credential) -> Known:
        """One that is shown, or handed on; GossipError. OSError if it cannot be kept."""
        found = self._by_leaf.get(credential.chain[0]) if credential.chain else None
        if found is not None and found.credential == credential:
            return found
        known = self._trust.check(credential)
        if known.id not in self._known and len(self._known) >= limits.gossip_members_max:
            raise GossipError(f"{known.name} is one gateway too many")
        if self._add(known):
            _write(self._path(known), msgspec.msgpack.encode(credential))
        return known

    def send_away(self, member: bytes, before: int) -> bool:
        """No certificate issued until then is a member's; whether that was news. OSError."""
        if before <= self.gone.get(member, -1) or len(self.gone) >= limits.gossip_members_max:
            return False
        self.gone[member] = before
        _write(self._gone_path(member), str(before).encode())
        return True

    def roll(self) -> list[bytes]:
        """Fingerprints of what is here, to be compared."""
        return [known.fingerprint for known in self._all()]

    def beyond(self, roll: Iterable[bytes]) -> list[Credential]:
        """What somebody has not got who has these."""
        theirs = set(roll)
        return [known.credential for known in self._all() if known.fingerprint not in theirs]

    def signer(self, capsule: Capsule, *, is_named: bool = False) -> Known | None:
        """Who has signed a capsule, by a certificate of its time.

        That its origin has, if it had the right to, is known of one that is named by a later one.
        """
        for known in reversed(self._known.get(capsule.origin, ())):
            may_sign = known.may_sign(capsule.created)
            if may_sign and (is_named or known.has_signed(capsule, self._cluster)):
                return known
        return None

    def may_sign(self, me: Known, now: int) -> bool:
        """Whether a capsule that `me` signs now is good, by any certificate with its key."""
        mine = self._known.get(me.id, ())
        return any(each.may_sign(now) and each.identity.key == me.identity.key for each in mine)

    def _all(self) -> Iterator[Known]:
        """Each gateway by all its certificates: what it signed under an older one is good."""
        for known in self._known.values():
            yield from known

    def _add(self, known: Known) -> bool:
        """False if it was there, and where it is reached was no news."""
        gateway = self._known.setdefault(known.id, [])
        leaf = known.credential.chain[0]
        before = self._by_leaf.get(leaf)
        if before is not None:
            is_later = known.credential.told > before.credential.told
            if known.address == before.address or not is_later:
                return False
            self._forget(before)
        gateway.append(known)
        gateway.sort(key=lambda each: (each.not_before, each.credential.told, each.fingerprint))
        self._by_leaf[leaf] = known
        for old in gateway[: -limits.member_certificates_max]:
            self._forget(old)
        return leaf in self._by_leaf

    def _forget(self, known: Known) -> None:
        self._path(known).unlink(missing_ok=True)
        self._known[known.id].remove(known)
        del self._by_leaf[known.credential.chain[0]]

    def _path(self, known: Known) -> Path:
        return self._folder / f"{known.id.hex()}-{known.fingerprint.hex()}.member"

    def _gone_path(self, member: bytes) -> Path:
        return self._folder / f"{member.hex()}.gone"


def _write(path: Path, data: bytes) -> None:
    """Whole, or as it was before."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    beside.replace(path)
