"""Who is believed, about what: a member has its say, and no more."""

import errno
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from gossip_members import Authority, chain_of
from socketless_members import StillMember, acquaint, company_of, id_of

from crewgate import limits
from crewgate.core.gossip.messages import MemberState
from crewgate.core.ids import EntityKind, orchestrator_key
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import UnknownKeyError
from crewgate.gossip.member_admission import SelfConnectionError
from crewgate.gossip.stream import Hello


@dataclass
class Pair:
    one: StillMember
    other: StillMember

    def says(self, **changes: Any) -> None:
        """The other's hello, in which this is a lie, and what becomes of it."""
        hello = msgspec.structs.replace(self.hello(), **changes)
        known = self.one.membership.add_member(self.other.leaf, hello)
        self.one.membership.merge(self.one.node, known, hello)

    def hello(self) -> Hello:
        return self.other.membership.hello(self.other.node)


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """Two, who know each other."""
    return Pair(*company_of(authority, tmp_path, 2))


DER, DEAD = Encoding.DER, MemberState.DEAD


def of_gateway(name: str) -> bytes:
    """The key that ends a gateway's certificates."""
    return orchestrator_key("", f"gateway/{name}")


def test_those_who_have_met_are_members_with_one_key(authority: Authority, tmp_path: Path) -> None:
    """Of three, the first of two makes the key."""
    members = company_of(authority, tmp_path, 3)
    for member in members:
        assert member.others == {each.id for each in members} - {member.id}
        assert member.membership.keys.number == members[0].membership.keys.number != 0


def test_who_is_recognized(pair: Pair, authority: Authority, tmp_path: Path) -> None:
    """A gateway of this CA; before that nobody is told a word."""
    assert pair.one.membership.recognize(pair.other.leaf) == pair.other.id
    with pytest.raises(SelfConnectionError):
        pair.one.membership.recognize(pair.one.leaf)
    signing = Ed25519PrivateKey.generate()
    files = authority.certify(tmp_path / "bd", "m1", signing, role=Role.ORCHESTRATOR)
    with pytest.raises(GossipError, match="bd/m1 is not a gateway"):
        pair.one.membership.recognize(chain_of(files.certificate)[0])
    for leaf in (b"", b"garbage", authority.issuing.certificate.public_bytes(DER)):
        with pytest.raises(GossipError, match="not a gateway certificate"):
            pair.one.membership.recognize(leaf)
    pair.one.host.dead.add(of_gateway("m1"))
    with pytest.raises(GossipError, match="revoked"):
        pair.one.membership.recognize(pair.other.leaf)


def test_a_namesake_is_refused(pair: Pair, authority: Authority, tmp_path: Path) -> None:
    """Two machines of one name would count as one."""
    double = StillMember(authority, tmp_path / "double", "m0")
    with pytest.raises(GossipError, match="another machine is called m0, with another signing key"):
        pair.one.hears(double)


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"cluster": bytes(16)}], ids=["version", "cluster"]
)
def test_another_version_or_cluster_is_refused(pair: Pair, changes: dict[str, Any]) -> None:
    """Nor does it leave anything behind."""
    with pytest.raises(GossipError, match="another protocol version or trust domain"):
        pair.says(**changes)


def test_a_certificate_that_the_handshake_did_not_prove(
    pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    """Whoever shows another's is nobody."""
    third = StillMember(authority, tmp_path / "m2", "m2")
    with pytest.raises(GossipError, match="shows two certificates"):
        pair.one.membership.add_member(third.leaf, pair.hello())
    assert third.id not in pair.one.membership.certificates


def test_made_up_members_are_none(pair: Pair) -> None:
    """Or no majority of members could ever be asked again."""
    invented = [bytes((n,)) * 8 for n in range(100)]
    pair.says(members=invented, counted=invented)
    assert pair.one.others == {pair.other.id}
    assert pair.one.node.freshness.needed == 1


def test_who_may_not_revoke_sends_nobody_away(authority: Authority, tmp_path: Path) -> None:
    """Its word is as if it had not said it."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    liar = StillMember(authority, tmp_path / "m1", "m1", rights=())
    third = StillMember(authority, tmp_path / "m2", "m2")
    acquaint(one, liar, third)
    liar.membership.certificates.evict(third.id, one.host.wall() + 100)
    pair = Pair(one, liar)
    pair.says()
    assert third.id in one.membership.certificates
    assert one.membership.certificates.gone == {}


def test_who_is_gone_is_heard_of_from_who_may_revoke(authority: Authority, tmp_path: Path) -> None:
    """Also one who was never met: its certificate comes, and it is none of the members."""
    first, second, third = company_of(authority, tmp_path, 3)
    first.gossip.revoke([first.entry(of_gateway("m2"), kind=EntityKind.ORCHESTRATOR)])
    assert third.id not in first.membership.certificates
    second.hears(first)
    new = StillMember(authority, tmp_path / "m3", "m3")
    new.hears(second)
    for member in (second, new):
        assert third.id not in member.membership.certificates
        assert member.membership.certificates.get(third.id) is not None
        with pytest.raises(GossipError, match="was evicted"):
            member.hears(third)
    assert new.others == {first.id, second.id}


def test_nobody_is_gone_who_never_was(pair: Pair) -> None:
    """Made-up names take no room on the disk."""
    pair.says(gone={bytes((n,)) * 8: 1 for n in range(100)})
    assert pair.one.membership.certificates.gone == {}


def test_who_was_evicted_comes_again_with_a_new_certificate_alone(
    authority: Authority, tmp_path: Path
) -> None:
    """And then its old one is still nobody's, though its name is a member's again."""
    one, old = company_of(authority, tmp_path, 2)
    one.membership.evict(one.node, old.id, one.host.wall())
    with pytest.raises(GossipError, match="was evicted"):
        one.hears(old)
    new = StillMember(authority, tmp_path / "again", "m1", born=30, signing=old.signing)
    one.hears(new)
    assert old.id in one.membership.certificates
    for step in (
        one.membership.recognize,
        lambda leaf: one.membership.add_member(leaf, old.membership.hello(old.node)),
    ):
        with pytest.raises(GossipError, match="was evicted"):
            step(old.leaf)


def test_it_is_said_once_that_somebody_is_gone(pair: Pair) -> None:
    """However many tell."""
    pair.one.membership.evict(pair.one.node, pair.other.id, pair.one.host.wall())
    pair.one.membership.evict(pair.one.node, pair.other.id, pair.one.host.wall())
    assert pair.one.host.said == ["gateway m1 was evicted"]


def test_a_disk_that_is_full_keeps_nobody_in(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member is gone all the same; the log says once that a restart may not know it."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=full))
        pair.one.membership.evict(pair.one.node, pair.other.id, pair.one.host.wall())
        assert pair.other.id not in pair.one.membership.certificates
        pair.one.gossip.upkeep()
        pair.one.gossip.upkeep()
        assert "No space left on device; make room" in pair.one.host.said[1]
        assert "No space left on device" in pair.one.gossip.disk.why
    pair.one.gossip.upkeep()
    assert pair.one.host.said[2:] == ["the members and their certificates are on the disk again"]
    assert pair.one.gossip.disk.why == ""


def test_members_are_there_once_they_speak(pair: Pair) -> None:
    """Upkeep brings nobody back to life; a hello does."""
    members = pair.one.node.members
    found = members.get(pair.other.id)
    assert found is not None
    members.merge([msgspec.structs.replace(found.update(), state=DEAD, incarnation=9)], 0.0)
    pair.one.gossip.upkeep()
    assert list(members.reachable) == []
    pair.says()
    assert list(members.reachable) == [pair.other.id]


def test_an_hour_makes_another_key(pair: Pair) -> None:
    """The first of the members makes it, and the others only if it does not."""
    first, second = sorted((pair.one, pair.other), key=lambda each: each.id)
    before = len(list(first.membership.keyring))
    for member in (first, second):
        member.host.sleep(limits.group_key_seconds + 1)
        member.gossip.upkeep()
    assert (len(list(first.membership.keyring)), len(list(second.membership.keyring))) == (
        before + 1,
        before,
    )
    assert second.id in first.gossip.to_sync
    second.host.sleep(limits.group_key_turn_seconds)
    second.gossip.upkeep()
    assert len(list(second.membership.keyring)) == before + 1


def test_what_is_no_key_ends_the_conversation(pair: Pair) -> None:
    """And the ring is as it was."""
    ring = list(pair.one.membership.keyring)
    bad = msgspec.structs.replace(ring[0], number=7, key=b"short")
    with pytest.raises(GossipError, match="group key"):
        pair.says(keys=[bad])
    assert list(pair.one.membership.keyring) == ring


def test_a_member_is_known_by_its_name() -> None:
    """The id is the name's, through all certificates."""
    assert id_of("m1") != id_of("m2")


def test_who_is_evicted_reads_nothing_after(authority: Authority, tmp_path: Path) -> None:
    """The one who evicts it makes a key that ends the others, by command as by revocation."""
    one, two, out = company_of(authority, tmp_path, 3)
    one.gossip.revoke([one.entry(of_gateway("m2"), kind=EntityKind.ORCHESTRATOR)])
    assert one.membership.keys.number not in {key.number for key in out.membership.keyring}
    two.hears(one)
    assert two.membership.keys.number == one.membership.keys.number
    one.outbox()
    one.gossip.revoke([one.entry(bytes(16))])
    for datagram in one.outbox():
        with pytest.raises(UnknownKeyError):
            out.membership.opener.open(datagram, 0.0)
    number = one.membership.keys.number
    one.gossip.drop(two.id)
    assert one.membership.keys.number != number


def test_who_is_told_that_it_was_evicted_stays_out_until_it_is_renewed(pair: Pair) -> None:
    """Also after a restart; and a person hears once how it comes back."""
    one, other = pair.one, pair.other
    assert not one.membership.is_evicted
    for _ in range(2):
        one.membership.dismissed(one.node, other.leaf, one.membership.me)
    assert one.membership.is_evicted
    assert [each.split(";")[0] for each in one.host.said] == ["this machine was evicted"]
    assert "ca issue --role gateway --name m0 --signing-key" in one.host.said[0]
    one.gossip.restore()
    assert one.membership.is_evicted
    assert one.others == {other.id}


def test_who_may_not_revoke_is_not_believed_that_we_were_evicted(
    authority: Authority, tmp_path: Path
) -> None:
    """It could not have sent us away either."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    liar = StillMember(authority, tmp_path / "m1", "m1", rights=())
    acquaint(one, liar)
    one.membership.dismissed(one.node, liar.leaf, one.membership.me)
    assert (one.membership.is_evicted, one.host.said) == (False, [])


def test_a_machine_alone_goes_on_while_another_joins(authority: Authority, tmp_path: Path) -> None:
    """And then for as long as if it had compared when it heard that the other counts."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    new = StillMember(authority, tmp_path / "m1", "m1")
    one.hears(new)
    new.hears(one)
    assert one.others == {new.id}
    assert one.node.freshness.until(5.0) == math.inf
    new.node.freshness.counts = True
    one.host.sleep(2)
    one.hears(new)
    assert one.node.freshness.until(5.0) == one.host.now() + 5.0


def test_who_may_not_revoke_hands_out_no_key_that_voids(
    authority: Authority, tmp_path: Path
) -> None:
    """It would end everybody's."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    liar = StillMember(authority, tmp_path / "m1", "m1", rights=())
    acquaint(one, liar)
    number = one.membership.keys.number
    liar.membership.keyring.make(liar.host.wall(), voids=True)
    one.hears(liar)
    assert one.membership.keys.number == number
