"""Who the members are, over renewals, moves, removals and restarts."""

import errno
import os
import time
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gossip_members import Authority, chain_of

from crewgate import limits
from crewgate.core.x509.identity_extension import member_id
from crewgate.errors import GossipError
from crewgate.gossip.member_certificate_store import MemberCertificateStore
from crewgate.gossip.member_verification import CertificateVerifier, SignedMemberRecord

HOST = bytes(10) + b"\xff\xff\x0a\0\0\1"
CLUSTER = bytes(16)
M0, M1 = member_id("m0"), member_id("m1")


class Issuer:
    """Of certificates for gateways, each with one signing key."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.authority, self.folder = authority, folder
        self.keys: dict[str, Ed25519PrivateKey] = {}

    def __call__(
        self, name: str = "m0", *, born: int = 0, port: int = 1, told: int = 1
    ) -> SignedMemberRecord:
        key = self.keys.setdefault(name, Ed25519PrivateKey.generate())
        files = self.authority.certify(self.folder / name, name, key, born=born)
        return SignedMemberRecord(chain_of(files.certificate), HOST, port).signed_by(key.sign, told)

    def moved(
        self, shown: SignedMemberRecord, port: int, told: int, name: str = "m0"
    ) -> SignedMemberRecord:
        """By its own word."""
        there = msgspec.structs.replace(shown, port=port)
        return there.signed_by(self.keys[name].sign, told)


@pytest.fixture
def issue(authority: Authority, tmp_path: Path) -> Issuer:
    return Issuer(authority, tmp_path)


@pytest.fixture
def store(authority: Authority, tmp_path: Path) -> MemberCertificateStore:
    return again(authority, tmp_path)


class Restarted(MemberCertificateStore):
    """With what it said of its folder."""

    said: list[str]


def again(authority: Authority, tmp_path: Path) -> Restarted:
    """After a restart."""
    made = Restarted(tmp_path / "gossip", CertificateVerifier(authority.file), CLUSTER)
    made.said = made.restore(int(time.time()))
    return made


def files(tmp_path: Path) -> int:
    return len(list((tmp_path / "gossip").iterdir()))


def test_renewals_are_kept_and_the_newest_counts(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """Whatever order they come in, and so many."""
    shown = [issue(born=n, port=n + 1) for n in range(limits.member_certificates_max + 2)]
    for each in (*shown[5:], *shown[:5], *shown):
        store.admit(each)
    store.flush()
    for one in (store, again(authority, tmp_path)):
        got = one.get(M0)
        assert got is not None
        assert got.credential == shown[-1]
    assert files(tmp_path) == limits.member_certificates_max


def test_a_gateway_moves_by_its_own_newest_word(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """What it said before is no news; nor does it take the place of another certificate."""
    shown = issue(port=1, told=10)
    there = issue.moved(shown, 2, 20)
    late = issue.moved(shown, 3, 20), issue.moved(shown, 2, 30)
    for each, port in zip((shown, there, shown, *late), (1, 2, 2, 2, 2), strict=True):
        store.admit(each)
        assert [known.address.port for known in store] == [port]
        assert len(store.roll()) == 1
        store.flush()
    for one in (store, again(authority, tmp_path)):
        assert [known.address.port for known in one] == [2]
    assert files(tmp_path) == 1


def test_where_a_gateway_was_is_on_the_disk_until_where_it_is_stands_there(
    store: MemberCertificateStore,
    issue: Issuer,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash between the two would leave a member without a certificate."""
    shown = issue(port=1, told=10)
    store.admit(shown)
    store.flush()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "I/O error")))
        store.admit(issue.moved(shown, 2, 20))
        store.flush()
        assert [known.address.port for known in again(authority, tmp_path)] == [1]
    store.flush()
    assert [known.address.port for known in again(authority, tmp_path)] == [2]
    assert files(tmp_path) == 1


def test_nobody_else_moves_it(store: MemberCertificateStore, issue: Issuer) -> None:
    """Or fills its places, so that what it signed before could not be verified."""
    shown = issue()
    store.admit(shown)
    for port in range(2, 50):
        with pytest.raises(GossipError, match="has not signed its address"):
            store.admit(msgspec.structs.replace(shown, port=port, told=port))
    assert [known.credential for known in store] == [shown]


def test_who_lacks_what_is_told(store: MemberCertificateStore, issue: Issuer) -> None:
    """By fingerprints; both sides of a difference."""
    one, other = issue("m0"), issue("m1")
    store.admit(one)
    roll = store.roll()
    store.admit(other)
    assert store.beyond(roll) == [other]
    assert store.beyond(store.roll()) == []
    assert {known.name for known in store} == {"m0", "m1"}
    assert (store.name(M1), store.name(bytes(8))) == ("m1", bytes(8).hex())


def test_who_is_evicted_is_out_until_a_newer_certificate(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """Over restarts too; the old ones are kept for what they have signed."""
    known = store.admit(issue())
    assert store.evict(M0, known.issued)
    assert not store.evict(M0, known.issued)
    store.flush()
    for one in (store, again(authority, tmp_path)):
        assert M0 not in one
        assert list(one) == []
        assert one.get(M0) == known
    store.admit(issue(born=5))
    store.flush()
    for one in (store, again(authority, tmp_path)):
        assert M0 in one


def test_torn_files_take_nothing_with_them(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """A torn file is left out, and the log says so; its member shows its certificate again."""
    shown = [issue(name) for name in ("m0", "m1")]
    for each in shown:
        store.admit(each)
    store.flush()
    folder = tmp_path / "gossip"
    path = next(folder.glob(f"{M0.hex()}-*.member"))
    whole = path.read_bytes()
    (folder / "zz.gone").write_text("1")
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        found = again(authority, tmp_path)
        assert [known.id for known in found] == [M1]
        assert found.said == [
            f"{path}: not a certificate; the certificate comes back when its gateway connects again"
        ]
    found.admit(shown[0])
    found.flush()
    assert {known.id for known in again(authority, tmp_path)} == {M0, M1}


@pytest.mark.parametrize("mark", [b"", b"not a number", b"\0\0\0\0"])
def test_one_whose_mark_cannot_be_read_was_evicted(
    store: MemberCertificateStore,
    issue: Issuer,
    authority: Authority,
    tmp_path: Path,
    mark: bytes,
) -> None:
    """The disk has lost when, and not that; said once, and a new certificate brings it back."""
    for each in (issue("m0"), issue("m1")):
        store.admit(each)
    store.flush()
    path = tmp_path / "gossip" / f"{M0.hex()}.gone"
    path.write_bytes(mark)
    found = again(authority, tmp_path)
    assert [known.id for known in found] == [M1]
    assert [text for text in found.said if text.startswith(str(path))] == found.said != []
    found.admit(issue(born=60))
    found.flush()
    once_more = again(authority, tmp_path)
    assert (M0 in once_more, once_more.said) == (True, [])


def test_a_mark_that_the_process_may_not_read_counts(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """A folder of that name stands for anything that cannot be read; the start goes on."""
    store.admit(issue())
    store.flush()
    (tmp_path / "gossip" / f"{M0.hex()}.gone").mkdir()
    found = again(authority, tmp_path)
    assert M0 not in found
    assert "Is a directory" in found.trouble
    found.admit(issue("m1"))  # it keeps no other off the disk
    found.flush()
    assert M1 in again(authority, tmp_path)


def test_a_mark_outlives_a_certificate_that_the_disk_has_lost(
    store: MemberCertificateStore, issue: Issuer, authority: Authority, tmp_path: Path
) -> None:
    """A peer that hands the certificate on again would make it a member again."""
    shown = issue()
    known = store.admit(shown)
    store.evict(M0, known.issued)
    for path in (tmp_path / "gossip").glob("*.member"):
        path.unlink()
    found, now = again(authority, tmp_path), int(time.time())
    found.drop(now, ())
    found.admit(shown)
    assert M0 not in found
    lost = again(authority, tmp_path)
    lost.drop(now + limits.gateway_life_seconds_max + limits.clock_distrust_seconds + 1, ())
    assert lost.gone == {}


def test_what_a_full_disk_does_not_take_is_there_and_written_later(
    store: MemberCertificateStore,
    issue: Issuer,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Members and marks of those evicted; until then `trouble` says why not."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=full))
        known = store.admit(issue())
        store.admit(issue("m1"))
        store.evict(M0, known.issued)
        assert [each.id for each in store] == [M1]
        assert "No space left on device; make room" in store.trouble
        assert files(tmp_path) == 0
    store.flush()
    assert store.trouble == ""
    assert [each.id for each in again(authority, tmp_path)] == [M1]


def test_what_is_long_over_goes_with_its_gone(
    store: MemberCertificateStore, issue: Issuer, tmp_path: Path, authority: Authority
) -> None:
    """Nobody's name is kept for ever; one who was not evicted is a member that is silent.

    Nor does one go whose word is still kept.
    """
    for name in ("m0", "m1"):
        store.admit(issue(name))
    store.flush()
    store.evict(M0, int(time.time()) + 10)
    over = int(time.time()) + 14_400 + limits.clock_distrust_seconds + 10
    for now, origins in ((over - 100, ()), (over, (M0,))):
        later = again(authority, tmp_path)
        later.drop(now, origins)
        assert later.get(M0)
        assert (M0 in later.gone, M0 in later) == (True, False)
        assert files(tmp_path) == 3
    later.drop(over, ())
    assert (later.get(M0), later.gone) == (None, {})
    assert [known.id for known in later] == [M1]
    assert files(tmp_path) == 1


def test_there_are_so_many_gateways(
    store: MemberCertificateStore, issue: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused; those who are here renew."""
    monkeypatch.setattr(limits, "gossip_members_max", 1)
    store.admit(issue())
    store.admit(issue(born=5))
    with pytest.raises(GossipError, match="m1 is not admitted: at most 1 gateways are allowed"):
        store.admit(issue("m1"))
    assert (len(list(store)), len(store.gone)) == (1, 0)


def test_a_name_is_one_machines(store: MemberCertificateStore, issue: Issuer) -> None:
    """A second machine with the name is refused until the first is forgotten."""
    first = store.admit(issue())
    del issue.keys["m0"]  # a machine that was made anew, or a second one of that name
    second = issue(born=1, told=2)
    with pytest.raises(GossipError, match="another machine is called m0"):
        store.admit(second)
    assert store.get(M0) == first
    store.evict(M0, first.issued)
    assert store.admit(second).identity.key != first.identity.key
