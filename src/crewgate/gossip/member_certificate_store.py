"""Stores the members' certificates and evictions, in memory and on the disk.

A member is a gateway; the name in its certificates identifies it. A capsule is verified with the
certificate that its origin had when it signed; a renewed certificate has the same signing key. If
the disk refuses a file, its content counts all the same, and is written later. Times are whole
seconds of the wall clock.
"""

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.core.gossip.capsules import MEMBER_BYTES, Capsule
from crewgate.core.x509.identity_extension import Role, member_id
from crewgate.errors import GossipError
from crewgate.gossip.member_verification import CertificateVerifier, KnownMember, SignedMemberRecord
from crewgate.runtime.durable_files import (
    describe,
    make_folder,
    remove_drafts,
    write_file,
    write_files,
)

_PRIVATE = 0o600
_COMES_BACK = "the certificate comes back when its gateway connects again"


def evicted_members(folder: Path, now: int) -> tuple[dict[bytes, int], list[Path]]:
    """Return the evicted members that `folder` has, and the files about evictions that are damaged.

    A certificate of an evicted member that was issued at or before the time of eviction does not
    make it a member. If a file is damaged, its name still gives the member, and `now` is the time.
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


def was_evicted(state: Path, role: Role, name: str, issued: int, now: int) -> bool:
    """Return whether the cluster has evicted the gateway of a certificate since it was issued.

    `name` is the name of the gateway. Only the `state` folder knows of an eviction; the register of
    the CA does not.
    """
    gone, _ = evicted_members(state / "gossip", now)
    return role is Role.GATEWAY and issued <= gone.get(member_id(name), -1)


def are_others_known(folder: Path) -> bool:
    """Return whether the folder of a member has the certificates of more than one machine."""
    names = {path.name.partition("-")[0] for path in folder.glob("*.member")}
    return len(names) > 1


class MemberCertificateStore:
    """The certificates of all gateways that this machine knows; each is also a file in `folder`.

    A gateway is a member unless it was evicted after its newest certificate was issued. The
    certificates of evicted gateways stay, because they verify what these gateways have signed.
    """

    def __init__(self, folder: Path, trust: CertificateVerifier, cluster: bytes) -> None:
        """Make the folder if there is none. Raises OSError."""
        make_folder(folder, 0o700)
        # Why the disk does not have everything; empty if it has.
        self.trouble = ""
        self._unwritten: dict[Path, bytes] = {}
        # Files to delete as soon as those that replace them are written.
        self._outdated: set[Path] = set()
        # Evicted members, each with the time up to which certificates issued do not count.
        self.gone: dict[bytes, int] = {}
        self._folder = folder
        self._trust = trust
        self.oids = trust.oids
        self._cluster = cluster
        self._known: dict[bytes, list[KnownMember]] = {}  # the newest last
        self._by_leaf: dict[bytes, KnownMember] = {}

    def __iter__(self) -> Iterator[KnownMember]:
        """Yield the newest certificate of each member."""
        return (known[-1] for member, known in self._known.items() if member in self)

    def __contains__(self, member: object) -> bool:
        known = self._known.get(member) if isinstance(member, bytes) else None
        return known is not None and known[-1].issued > self.gone.get(known[-1].id, -1)

    def get(self, member: bytes) -> KnownMember | None:
        """Return the newest certificate of a gateway, member or not; None if there is none."""
        known = self._known.get(member)
        return known[-1] if known else None

    def name(self, member: bytes) -> str:
        """Return the name of a gateway; without a certificate, its id in hexadecimal digits."""
        known = self.get(member)
        return known.name if known else member.hex()

    def restore(self, now: int) -> list[str]:
        """Read the folder; return lines for the log about what is damaged. Raises OSError.

        A damaged eviction is written again with the time `now`, so that a later start does not
        take a later time.
        """
        remove_drafts(self._folder)
        self.gone, unreadable = evicted_members(self._folder, now)
        warnings = [
            f"{path}: cannot read when gateway {path.stem} was evicted, so it counts as evicted "
            "now; to bring it back, issue a new certificate for it"
            for path in unreadable
        ]
        for path in sorted(self._folder.glob("*.member")):
            try:
                credential = msgspec.msgpack.decode(path.read_bytes(), type=SignedMemberRecord)
                known = self._trust.check(credential)
            except OSError as error:
                warnings.append(f"{describe(error, path)}; {_COMES_BACK}")
                continue
            except msgspec.DecodeError:
                warnings.append(f"{path}: not a certificate; {_COMES_BACK}")
                continue
            except GossipError:
                continue  # a certificate of another CA does not make a member
            if not self._add(known):
                kept = self._by_leaf.get(credential.chain[0])
                # The file has the address that the member had before.
                if kept is None or self._path(kept) != path:
                    _discard(path)
        self._unwritten |= {path: str(now).encode() for path in unreadable}
        self.flush()
        return warnings

    def flush(self) -> None:
        """Write everything to the disk and wait for it; if that fails, `trouble` says why."""
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
        """Forget evicted members whose certificates have expired long ago.

        If there is no certificate of a member, the disk may have lost it: then the member stays
        until no certificate of it can be valid any more. Members in `origins` stay too, because
        other machines need their certificates to verify what they have signed.
        """
        for member in [each for each in self.gone if each not in origins]:
            certificates = [*self._known.get(member, ())]
            for known in certificates:
                if known.not_after + limits.clock_distrust_seconds < now:
                    self._forget(known)
            latest_end = self.gone[member] + limits.gateway_life_seconds_max
            is_over = bool(certificates) or latest_end + limits.clock_distrust_seconds < now
            if is_over and not self._known.get(member):
                self._known.pop(member, None)
                del self.gone[member]
                self._outdated.add(self._gone_path(member))
        self.flush()

    def check(self, credential: SignedMemberRecord) -> KnownMember:
        """Return the gateway of a credential; its address may be unsigned. Raises GossipError."""
        return self._trust.read(credential)

    def admit(self, credential: SignedMemberRecord) -> KnownMember:
        """Add a credential that a member shows or passes on. `flush` writes it to the disk.

        Raises GossipError if the credential is not valid, or is not admitted.
        """
        found = self._by_leaf.get(credential.chain[0]) if credential.chain else None
        if found is not None and found.credential == credential:
            return found
        known = self._trust.check(credential)
        if known.id not in self._known and len(self._known) >= limits.gossip_members_max:
            raise GossipError(
                f"{known.name} is not admitted: at most {limits.gossip_members_max} gateways are "
                "allowed"
            )
        previous = self.get(known.id)
        # A machine keeps its signing key when its certificate is renewed.
        is_same = previous is None or previous.identity.key == known.identity.key
        if known.id in self and not is_same:
            raise GossipError(
                f"another machine is called {known.name}, with another signing key: give this "
                "machine another name (`init --name`), or run `crewgate cluster evict "
                f"{known.name}` if the other machine is gone"
            )
        if self._add(known):
            self._unwritten[self._path(known)] = msgspec.msgpack.encode(credential)
            self._outdated.discard(self._path(known))
        return known

    def evict(self, member: bytes, before: int) -> bool:
        """Evict a member: a certificate issued at or before `before` no longer makes it one.

        Return whether that is new. Then the disk has it, or `trouble` says why not.
        """
        if before <= self.gone.get(member, -1) or len(self.gone) >= limits.gossip_members_max:
            return False
        self.gone[member] = before
        self._unwritten[self._gone_path(member)] = str(before).encode()
        self._outdated.discard(self._gone_path(member))
        self.flush()
        return True

    def roll(self) -> list[bytes]:
        """Return the fingerprints of all certificates, for another member to compare."""
        return [known.fingerprint for known in self._all()]

    def beyond(self, roll: Iterable[bytes]) -> list[SignedMemberRecord]:
        """Return the credentials that a member with the fingerprints `roll` lacks."""
        theirs = set(roll)
        return [known.credential for known in self._all() if known.fingerprint not in theirs]

    def signer(self, capsule: Capsule, *, is_named: bool = False) -> KnownMember | None:
        """Return the origin of a capsule, by the certificate with which it has signed it, or None.

        If a later capsule names this one (`is_named`), its origin has signed it for certain: then
        only the right to sign is checked.
        """
        for known in reversed(self._known.get(capsule.origin, ())):
            may_sign = known.may_sign(capsule.created)
            if may_sign and (is_named or known.has_signed(capsule, self._cluster)):
                return known
        return None

    def may_sign(self, me: KnownMember, now: int) -> bool:
        """Return whether a capsule that `me` signs now is good, by any certificate with its key."""
        own = self._known.get(me.id, ())
        return any(each.may_sign(now) and each.identity.key == me.identity.key for each in own)

    def _all(self) -> Iterator[KnownMember]:
        """Yield all certificates of all gateways: capsules signed under an older one are good."""
        for known in self._known.values():
            yield from known

    def _add(self, known: KnownMember) -> bool:
        """Add a certificate, or a later address of one; return whether either was new."""
        gateway = self._known.setdefault(known.id, [])
        leaf = known.credential.chain[0]
        previous = self._by_leaf.get(leaf)
        if previous is not None:
            is_later = known.credential.told > previous.credential.told
            if known.address == previous.address or not is_later:
                return False
            self._forget(previous)
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
    """Delete an outdated file. If it stays, or comes back after a power loss, it does no harm."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _is_written(path: Path, data: bytes) -> bool:
    """Write one file alone, and return whether it is written.

    So one file that cannot be replaced does not keep the others off the disk.
    """
    with suppress(OSError):
        write_file(path, data, _PRIVATE)
        return True
    return False
