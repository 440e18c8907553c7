"""Who the members are: their certificates, kept as long as their words.

A member is a gateway by the name in its certificates. A capsule is judged by the certificate that
its origin had when it signed: the origin's key stays over renewals. What the disk does not take
holds all the same, and is written once the disk takes it. Times are whole seconds of the wall
clock.
"""

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.core.gossip.capsules import MEMBER_BYTES, Capsule
from crewgate.errors import GossipError
from crewgate.gossip.member_certificates import CertificateVerifier, KnownMember, MemberCredential
from crewgate.runtime.durable_files import (
    describe,
    make_folder,
    remove_drafts,
    write_file,
    write_files,
)

_PRIVATE = 0o600


def evicted_members(folder: Path, now: int) -> tuple[dict[bytes, int], list[Path]]:
    """Members, and until when issued certificates of theirs are none's, as `folder` has it.

    And the marks that cannot be read: the disk has lost when it was, and not that it was, so no
    certificate that was issued before `now` is one.
    """
    found: dict[bytes, int] = {}
    unreadable = []
    for path in sorted(folder.glob("*.gone")):
        try:
            member = bytes.fromhex(path.stem)
        except ValueError:
            continue
        if len(member) != MEMBER_BYTES:
            continue
        try:
            found[member] = int(path.read_bytes())
        except (OSError, ValueError):
            found[member] = now
            unreadable.append(path)
    return found, unreadable


class MemberDirectory:
    """All gateways that were ever seen here, by their certificates; each also a file of `folder`.

    Members are those that nobody has evicted since their newest certificate was issued; the
    certificates of the others are kept for what they have signed.
    """

    def __init__(self, folder: Path, trust: CertificateVerifier, cluster: bytes) -> None:
        """Make the folder, if it is not there; OSError."""
        make_folder(folder, 0o700)
        self.trouble = ""  # why not all that is here is on the disk
        self._unwritten: dict[Path, bytes] = {}
        self._outdated: set[Path] = set()  # to go once what takes their place is written
        self.gone: dict[bytes, int] = {}  # members, and until when issued certificates are none's
        self._folder = folder
        self._trust = trust
        self._cluster = cluster
        self._known: dict[bytes, list[KnownMember]] = {}  # the newest last
        self._by_leaf: dict[bytes, KnownMember] = {}

    def __repr__(self) -> str:
        return f"<MemberDirectory gateways={len(self._known)} gone={len(self.gone)}>"

    def __iter__(self) -> Iterator[KnownMember]:
        """Each member by its newest certificate."""
        return (known[-1] for member, known in self._known.items() if member in self)

    def __contains__(self, member: object) -> bool:
        known = self._known.get(member) if isinstance(member, bytes) else None
        return known is not None and known[-1].issued > self.gone.get(known[-1].id, -1)

    def get(self, member: bytes) -> KnownMember | None:
        """A gateway by its newest certificate, member or not."""
        known = self._known.get(member)
        return known[-1] if known else None

    def name(self, member: bytes) -> str:
        """For people; its id where that is all that is known."""
        known = self.get(member)
        return known.name if known else member.hex()

    def restore(self, now: int) -> list[str]:
        """Read what the folder has; what of it a person should know. OSError.

        Of a mark that cannot be read a new one is written: it counts from `now`, and not from each
        start anew.
        """
        remove_drafts(self._folder)
        self.gone, unreadable = evicted_members(self._folder, now)
        said = [
            f"{path}: cannot be read, so gateway {path.stem} counts as evicted; a certificate "
            "that is issued from now on brings it back"
            for path in unreadable
        ]
        for path in sorted(self._folder.glob("*.member")):
            try:
                credential = msgspec.msgpack.decode(path.read_bytes(), type=MemberCredential)
                known = self._trust.check(credential)
            except OSError as error:
                said.append(f"{describe(error, path)}; its gateway has to show it again")
                continue
            except msgspec.DecodeError:
                said.append(f"{path}: not a certificate; its gateway has to show it again")
                continue
            except GossipError:
                continue  # another CA's: no member
            if not self._add(known):
                kept = self._by_leaf.get(credential.chain[0])
                if kept is None or self._path(kept) != path:  # where it was before
                    _discard(path)
        self._unwritten |= {path: str(now).encode() for path in unreadable}
        self.flush()
        return said

    def flush(self) -> None:
        """Wait until the disk has all that is here; `trouble` says why it has not."""
        self.trouble = ""
        while not self.trouble and self._unwritten:
            some = dict(islice(self._unwritten.items(), limits.directory_files_max))
            try:
                write_files(some, _PRIVATE)
            except OSError as error:
                self.trouble = describe(error, self._folder)
                some = dict(each for each in some.items() if _is_written(*each))
            for path in some:
                del self._unwritten[path]
        while self._outdated and not self._unwritten:
            _discard(self._outdated.pop())

    def drop(self, now: int, origins: Container[bytes]) -> None:
        """Forget members that were evicted, and whose certificates have long expired.

        If no certificate of a member is here, the disk may have lost some: it stays until none of
        them can be good any more. Members among `origins` stay: machines that are handed what such
        a member has signed judge it by its certificates.
        """
        for member in [each for each in self.gone if each not in origins]:
            had = [*self._known.get(member, ())]
            for known in had:
                if known.not_after + limits.clock_distrust_seconds < now:
                    self._forget(known)
            ends = self.gone[member] + limits.gateway_life_seconds_max
            is_over = bool(had) or ends + limits.clock_distrust_seconds < now
            if is_over and not self._known.get(member):
                self._known.pop(member, None)
                del self.gone[member]
                self._outdated.add(self._gone_path(member))
        self.flush()

    def check(self, credential: MemberCredential) -> KnownMember:
        """Who that is, though its address is not signed yet; GossipError."""
        return self._trust.read(credential)

    def admit(self, credential: MemberCredential) -> KnownMember:
        """One that is shown, or handed on, to be kept by the next `flush`; GossipError."""
        found = self._by_leaf.get(credential.chain[0]) if credential.chain else None
        if found is not None and found.credential == credential:
            return found
        known = self._trust.check(credential)
        if known.id not in self._known and len(self._known) >= limits.gossip_members_max:
            raise GossipError(f"{known.name} is one gateway too many")
        before = self.get(known.id)
        if before is not None and known.id in self and not self._may_follow(known, before):
            raise GossipError(
                f"another machine is called {known.name}, with another signing key: give this one "
                f"another name (`init --name`), or `crewgate cluster evict {known.name}` if that "
                "one is gone"
            )
        if self._add(known):
            self._unwritten[self._path(known)] = msgspec.msgpack.encode(credential)
            self._outdated.discard(self._path(known))
        return known

    def _may_follow(self, known: KnownMember, before: KnownMember) -> bool:
        """Whether a certificate is of the machine that has the name: its signing key stays."""
        return known.identity.key == before.identity.key

    def evict(self, member: bytes, before: int) -> bool:
        """No certificate issued until then is a member's; whether that was news.

        The disk has it, or `trouble` says why it has not.
        """
        if before <= self.gone.get(member, -1) or len(self.gone) >= limits.gossip_members_max:
            return False
        self.gone[member] = before
        self._unwritten[self._gone_path(member)] = str(before).encode()
        self._outdated.discard(self._gone_path(member))
        self.flush()
        return True

    def roll(self) -> list[bytes]:
        """Fingerprints of what is here, to be compared."""
        return [known.fingerprint for known in self._all()]

    def beyond(self, roll: Iterable[bytes]) -> list[MemberCredential]:
        """What somebody has not got who has these."""
        theirs = set(roll)
        return [known.credential for known in self._all() if known.fingerprint not in theirs]

    def signer(self, capsule: Capsule, *, is_named: bool = False) -> KnownMember | None:
        """Who has signed a capsule, by a certificate of its time.

        That its origin has, if it had the right to, is known of one that is named by a later one.
        """
        for known in reversed(self._known.get(capsule.origin, ())):
            may_sign = known.may_sign(capsule.created)
            if may_sign and (is_named or known.has_signed(capsule, self._cluster)):
                return known
        return None

    def may_sign(self, me: KnownMember, now: int) -> bool:
        """Whether a capsule that `me` signs now is good, by any certificate with its key."""
        mine = self._known.get(me.id, ())
        return any(each.may_sign(now) and each.identity.key == me.identity.key for each in mine)

    def _all(self) -> Iterator[KnownMember]:
        """Each gateway by all its certificates: what it signed under an older one is good."""
        for known in self._known.values():
            yield from known

    def _add(self, known: KnownMember) -> bool:
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

    def _forget(self, known: KnownMember) -> None:
        self._unwritten.pop(self._path(known), None)
        self._outdated.add(self._path(known))
        self._known[known.id].remove(known)
        del self._by_leaf[known.credential.chain[0]]

    def _path(self, known: KnownMember) -> Path:
        return self._folder / f"{known.id.hex()}-{known.fingerprint.hex()}.member"

    def _gone_path(self, member: bytes) -> Path:
        return self._folder / f"{member.hex()}.gone"


def _discard(path: Path) -> None:
    """One that comes back after a power loss, or stays, does no harm: it is outdated again."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _is_written(path: Path, data: bytes) -> bool:
    """Write one file by itself: another that cannot be replaced must not keep it off the disk."""
    with suppress(OSError):
        write_file(path, data, _PRIVATE)
        return True
    return False
