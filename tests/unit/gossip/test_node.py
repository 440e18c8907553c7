"""One life of a member, without sockets: whatever comes is taken rightly, or changes nothing."""

import os
import struct
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gossip_members import DOMAIN, Authority
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from socketless_members import StillMember, acquaint, company_of

from crewgate import limits
from crewgate.core.gossip.capsules import Capsule, digest_of, seal, unsigned
from crewgate.core.gossip.messages import (
    AcceptLogRequest,
    AcceptLogResponse,
    Ack,
    IHave,
    IWant,
    MemberAddress,
    MemberState,
    MemberUpdate,
    Message,
    PersistAck,
    PersistQuery,
    Ping,
    PingRequest,
    Push,
    encode,
)
from crewgate.core.ids import EntityKind, cluster_id, orchestrator_key
from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import Encryptor, KeySet
from crewgate.gossip.member_verification import SignedMemberRecord
from crewgate.gossip.node import GossipNode, LocalMemberIdentity

Pair = tuple[StillMember, StillMember]


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """Two who know each other and count; the first is the one that is told."""
    one, other = company_of(authority, tmp_path, 2)
    one.outbox()
    return one, other


def test_another_signing_key_than_the_certificates_is_said(
    authority: Authority, tmp_path: Path
) -> None:
    """By the name that the key has in the configuration."""
    one = StillMember(authority, tmp_path / "m0", "m0")
    shown, other = one.membership.me.credential, Ed25519PrivateKey.generate()
    me = LocalMemberIdentity(shown, other, authority.file, cluster_id(DOMAIN), tmp_path / "other")
    with pytest.raises(GossipError, match="signing_key does not belong to certificate"):
        GossipNode(me, one.host, lambda *_: None)


def told(one: StillMember, other: StillMember) -> bytes:
    """A datagram of the other's with a new revocation."""
    other.outbox()
    other.gossip.revoke([other.entry(os.urandom(16))])
    return other.outbox()[0]


def state(one: StillMember) -> object:
    """What must not change."""
    node, membership = one.node, one.membership
    return (
        [node.archive.digest, node.freshness.digest, node.members._health, *node.members.reachable],
        [*membership.certificates, *membership.keyring, *membership.opener._windows],
        dict(membership.certificates.gone),
        dict(one.host.applied),
        list(one.gossip.unsynced),
        one.outbox(),
    )


def capsule_of(who: StillMember, number: int = 1, *, line: bytes = b"", at: int = 0) -> Capsule:
    """Signed by it, outside of its own books."""
    made = unsigned(
        (line or who.id + b"one life"), number, at or who.host.wall(), [who.entry(os.urandom(16))]
    )
    return seal(made, who.signing.sign(made.signed(cluster_id("crewgate.test"))))


def sealed(sender: StillMember, receiver: StillMember, message: bytes) -> bytes:
    """Whatever one with the group's key likes to say."""
    return sender.gossip._encryptor.seal(receiver.id, message)


def test_what_is_told_is_obeyed(pair: Pair) -> None:
    """And told on, kept, and acknowledged once it is on the disk."""
    one, other = pair
    one.gossip.receive(told(one, other))
    assert len(one.host.applied) == 1
    assert len(one.gossip.unsynced) == 1


def test_every_bit_of_a_datagram_counts(pair: Pair) -> None:
    """Turned, cut, drawn out, too long, for another, of another cluster, or a second time."""
    one, other = pair
    good = told(one, other)
    third = KeySet()
    third.use({other.membership.keys.number: os.urandom(32)}, other.membership.keys.number)
    bad = [good[:end] for end in range(len(good))]
    bad += [good + bytes(n) for n in (1, 100, limits.gossip_datagram_bytes_max, 65_000)]
    for at in range(len(good)):
        bad += [good[:at] + bytes((good[at] ^ bit,)) + good[at + 1 :] for bit in (1, 128)]
    bad.append(other.gossip._encryptor.seal(other.id, b"for another"))
    bad.append(one.gossip._encryptor.seal(one.id, b"from oneself"))
    bad.append(Encryptor(other.id, bytes(8), third).seal(one.id, b"of another group"))
    bad.append(Encryptor(b"stranger", bytes(8), other.membership.keys).seal(one.id, b"of nobody"))
    before = state(one)
    for datagram in bad:
        one.gossip.receive(datagram)
        assert state(one) == before
    one.gossip.receive(good)
    after = state(one)
    assert after != before
    one.gossip.receive(good)
    assert state(one)[:-1] == after[:-1]


IDS = st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=55).map(tuple)
EIGHT = st.binary(min_size=8, max_size=8)
NUMBER = st.integers(0, 2**64 - 1)
LATE = st.just(2**39)
UPDATES = st.lists(
    st.builds(
        MemberUpdate,
        EIGHT,
        st.sampled_from(MemberState),
        NUMBER,
        st.builds(MemberAddress, st.binary(min_size=16, max_size=16), st.integers(0, 2**16 - 1)),
    ),
    max_size=32,
).map(tuple)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Push, st.binary(min_size=1, max_size=1100)),
    st.builds(IHave, IDS),
    st.builds(IWant, IDS),
    st.builds(PersistQuery, st.integers(0, 2**40 - 1), IDS),
    st.builds(Ping, NUMBER, EIGHT, UPDATES),
    st.builds(Ack, NUMBER, EIGHT, UPDATES),
    st.builds(PingRequest, NUMBER, EIGHT, UPDATES),
    st.builds(AcceptLogRequest, EIGHT, EIGHT, NUMBER),
    st.builds(AcceptLogResponse, *(EIGHT, EIGHT, st.just(0), NUMBER, EIGHT, LATE), st.booleans()),
    st.builds(PersistAck, st.integers(0, 2**40 - 1), EIGHT, st.booleans(), IDS),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(MESSAGES.map(encode), st.binary(max_size=1156)), max_size=8))
def test_whatever_a_member_says_the_others_live(pair: Pair, messages: list[bytes]) -> None:
    """They go on, ask, and answer; nobody new is a member, and nothing is in force."""
    one, other = pair
    for message in messages:
        one.gossip.receive(sealed(other, one, message))
        one.host.sleep(0.3)
        one.gossip.due()
    one.gossip.upkeep()
    assert one.others == {other.id}
    assert one.host.applied == {}
    assert set(one.gossip.to_sync) <= {other.id}
    assert not one.host.said


def test_who_may_not_revoke_is_not_obeyed(authority: Authority, tmp_path: Path) -> None:
    """Whoever carries it, by datagram and by stream."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    liar = StillMember(authority, tmp_path / "m1", "m1", rights=())
    acquaint(one, liar)
    forged = capsule_of(liar)
    one.gossip.receive(sealed(liar, one, encode(Push(forged.raw))))
    with pytest.raises(GossipError, match="no certificate here allows its origin to sign it"):
        one.gossip.take([forged.raw])
    assert one.host.applied == {}
    assert list(one.gossip.to_sync) == [liar.id]


def test_who_has_no_certificate_of_this_time_tells_nobody(pair: Pair) -> None:
    """Nobody could judge it, ever, though it may show another certificate later."""
    one, other = pair
    over = other.membership.me.not_after + limits.skew_max
    for time, may_revoke in ((over, True), (over + 1, False)):
        other.host.time = time
        other.outbox()
        with nullcontext() if may_revoke else pytest.raises(ValueError, match="right revoke at"):
            other.gossip.revoke([other.entry(os.urandom(16))])
        assert bool(other.outbox()) is may_revoke
    held = dict.fromkeys(other.node.archive.digests(), ())
    one.gossip.take(list(other.node.archive.lacking(held)))
    assert len(one.node.archive) == len(other.node.archive) == 1


def test_what_is_signed_in_another_s_name_is_not_obeyed(pair: Pair) -> None:
    """Nor what another cluster's member signed."""
    one, other = pair
    made = unsigned(one.id + b"one life", 1, one.host.wall(), [one.entry(bytes(16))])
    for capsule in (
        seal(made, other.signing.sign(made.signed(cluster_id("crewgate.test")))),
        seal(made, one.signing.sign(made.signed(cluster_id("another.test")))),
    ):
        one.gossip.receive(sealed(other, one, encode(Push(capsule.raw))))
        one.gossip.take([capsule.raw])
    assert one.host.applied == {}


def test_who_signed_one_has_signed_the_one_before_it(pair: Pair) -> None:
    """If it had the right to then: by a certificate of that time."""
    one, other = pair
    line, wall = other.id + b"one life", other.host.wall()
    for number, (at, is_good) in enumerate(((wall, True), (wall + 100_000, False)), 1):
        first = unsigned(line, 2 * number, at, [other.entry(os.urandom(16))])
        last = unsigned(
            line, 2 * number + 1, wall, [other.entry(os.urandom(16))], digest_of(first.raw)
        )
        last = seal(last, other.signing.sign(last.signed(cluster_id("crewgate.test"))))
        with nullcontext() if is_good else pytest.raises(GossipError, match="no certificate here "):
            one.gossip.take([last.raw, first.raw])
        assert (first.entries[0].key in one.host.applied) is is_good


def of_gateway(name: str) -> bytes:
    return orchestrator_key("", f"gateway/{name}")


def test_what_a_revoked_origin_signed_before_stays(authority: Authority, tmp_path: Path) -> None:
    """With who has it, and for one who joins later; what it signs after that is nothing."""
    one, other, origin = company_of(authority, tmp_path, 3)
    old, new = capsule_of(origin, 1), capsule_of(origin, 2)
    one.gossip.take([old.raw])
    one.gossip.revoke([one.entry(of_gateway("m2"), kind=EntityKind.ORCHESTRATOR)])
    for member in (one, other):
        member.host.dead.add(of_gateway("m2"))
    datagram = sealed(origin, one, encode(Push(new.raw)))
    one.gossip.receive(datagram)
    one.gossip.receive(sealed(other, one, encode(Push(new.raw))))
    assert len(one.host.applied) == 1
    late = StillMember(authority, tmp_path / "m3", "m3")
    late.host.dead.add(of_gateway("m2"))
    late.hears(one)
    late.gossip.take([old.raw])
    assert old.entries[0].key in late.host.applied
    assert origin.id not in late.others


def test_what_one_signed_who_is_long_gone_can_still_be_judged(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody could join any more, once those who have its word were started again."""
    one, origin = company_of(authority, tmp_path, 2)
    made = capsule_of(origin)
    one.gossip.take([made.raw])
    one.membership.evict(one.node, origin.id, one.host.wall())
    monkeypatch.setattr(limits, "clock_distrust_seconds", -100_000)  # its certificate is long over
    again = StillMember(authority, tmp_path / "m0", "m0", signing=one.signing, bootstrap=True)
    late = StillMember(authority, tmp_path / "m2", "m2")
    late.hears(again)
    late.gossip.take(list(again.node.archive.lacking({made.line: ()})))
    assert made.entries[0].key in late.host.applied
    assert origin.id not in late.others


def test_a_renewed_origin_is_verified_by_the_certificate_of_its_time(
    authority: Authority, tmp_path: Path
) -> None:
    """Its key stays. A capsule from after its last certificate is none."""
    one, origin = company_of(authority, tmp_path, 2)
    old = capsule_of(origin, 1)
    again = StillMember(authority, tmp_path / "m1", "m1", born=60, signing=origin.signing)
    one.hears(again)
    late = StillMember(authority, tmp_path / "m2", "m2")
    late.hears(one)
    for member in (one, late):
        member.gossip.take([old.raw, capsule_of(again, 2, line=again.id + b"two life").raw])
        assert len(member.host.applied) == 2
        with pytest.raises(GossipError):
            member.gossip.take([capsule_of(again, 3, at=member.host.wall() + 10**6).raw])


def test_a_renewed_origin_is_verified_though_the_certificate_of_that_time_is_forgotten(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lives as long as a certificate may outlast many renewals; nobody could join."""
    monkeypatch.setattr(limits, "member_certificates_max", 1)
    one, origin = company_of(authority, tmp_path, 2)
    old = capsule_of(origin, at=origin.host.wall() - 10_000)
    again = StillMember(authority, tmp_path / "m1", "m1", born=5, signing=origin.signing)
    one.hears(again)
    late = StillMember(authority, tmp_path / "m2", "m2")
    late.hears(one)
    late.gossip.take([old.raw])
    assert old.entries[0].key in late.host.applied


@pytest.mark.parametrize("was_full", [False, True])
def test_what_a_full_disk_lacks_counts_for_nobody_after_a_restart(
    authority: Authority, tmp_path: Path, *, was_full: bool
) -> None:
    """It begins anew, and asks a majority first."""
    one = StillMember(authority, tmp_path / "m0", "m0")
    one.gossip.log.incomplete = was_full
    one.node.freshness.counts = True
    one.gossip.save()
    again = StillMember(authority, tmp_path / "m0", "m0", signing=one.signing)
    assert again.node.freshness.counts is not was_full


def test_renewal_shows_another_certificate(
    pair: Pair, authority: Authority, tmp_path: Path
) -> None:
    """Of the same name and signing key, and of no other."""
    one, other = pair
    shown = one.membership.me.credential
    renewed = StillMember(authority, tmp_path / "new", "m0", born=5, signing=one.signing)
    told = renewed.membership.me.credential
    one.gossip.renew(SignedMemberRecord(told.chain, shown.host, shown.port))
    assert one.leaf == renewed.leaf
    other.hears(one)
    got = other.membership.certificates.get(one.id)
    assert got is not None
    assert got.credential.chain == told.chain
    stranger = StillMember(authority, tmp_path / "x", "m0")
    for bad in (stranger, other):
        with pytest.raises(GossipError):
            one.gossip.renew(bad.membership.me.credential)
    assert one.leaf == renewed.leaf


def test_who_cannot_be_opened_is_asked_about_once_a_second(pair: Pair) -> None:
    """Anybody can send what nobody can open: it costs no storm of syncs."""
    one, _ = pair
    synced = 0
    for _ in range(100):
        for sender in (os.urandom(8), *one.others):
            one.gossip.receive(b"\1\0\0\7" + sender + os.urandom(60))
        synced += len(one.gossip.to_sync)
        one.gossip.to_sync.clear()
        one.host.sleep(0.1)
    assert 5 <= synced <= 11


def test_no_nonce_comes_twice_over_restarts(authority: Authority, tmp_path: Path) -> None:
    """Of one folder, whatever was sent."""
    nonces = list[bytes]()
    signing = Ed25519PrivateKey.generate()
    other = StillMember(authority, tmp_path / "m1", "m1", bootstrap=True)
    for _ in range(5):
        one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True, signing=signing)
        acquaint(one, other)
        for _ in range(3):
            one.gossip.revoke([one.entry(os.urandom(16))])
            one.gossip.due()
            one.host.sleep(1)
        nonces += [datagram[4:28] for datagram in one.outbox()]
    assert len(nonces) >= 15
    assert len(set(nonces)) == len(nonces)


def test_a_restart_takes_up_what_the_folder_has(authority: Authority, tmp_path: Path) -> None:
    """Members, standing and capsules; whatever of it is damaged is left out."""
    one, other = company_of(authority, tmp_path, 2)
    one.gossip.take([capsule_of(other, n).raw for n in range(1, 4)])
    one.gossip.save()
    folder = tmp_path / "m0" / "gossip"
    with next(folder.glob("capsules-*")).open("ab") as file:
        file.write(_record(b"a capsule of a later version"))
    again = StillMember(authority, tmp_path / "m0", "m0", signing=one.signing)
    assert len(again.host.applied) == 3
    assert again.node.freshness.counts
    assert again.others == {other.id}
    for path in folder.iterdir():
        path.unlink()
    empty = StillMember(authority, tmp_path / "m0", "m0", signing=one.signing)
    assert (empty.host.applied, empty.others, empty.node.freshness.counts) == ({}, set(), False)


def test_a_restart_goes_on_sending_away(authority: Authority, tmp_path: Path) -> None:
    """A machine that forgot the eviction would count the member for ever."""
    one, other, gone = company_of(authority, tmp_path, 3)
    one.gossip.revoke([one.entry(of_gateway("m2"), kind=EntityKind.ORCHESTRATOR)])
    assert (one.others, one.node.freshness.leaving) == ({other.id, gone.id}, (gone.id,))
    one.gossip.save()
    again = StillMember(authority, tmp_path / "m0", "m0", signing=one.signing)
    assert (again.others, again.node.freshness.leaving) == ({other.id, gone.id}, (gone.id,))
    assert again.node.freshness.digest == one.node.freshness.digest


def test_a_dropped_member_goes_here_once_the_other_has_handed_over_all(
    authority: Authority, tmp_path: Path
) -> None:
    """Its view comes first, and may come alone: the conversation may break off."""
    one, other, gone = company_of(authority, tmp_path, 3)
    one.gossip.revoke([one.entry(of_gateway("m2"), kind=EntityKind.ORCHESTRATOR)])
    one.node.freshness.drop(gone.id)
    other.hears(one)
    assert (other.others, other.node.freshness.leaving) == ({one.id, gone.id}, (gone.id,))
    other.gossip.synced(one.id, one.membership.hello(one.node), other.host.now())
    assert (other.others, other.node.freshness.leaving) == ({one.id}, ())


def _record(raw: bytes) -> bytes:
    return struct.pack(">4sHI", b"\xc4cap", len(raw), zlib.crc32(raw)) + raw


def test_what_found_no_room_is_not_said_to_be_kept(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is obeyed; but one who restarts could not know, and must not have been counted on."""
    one, other = pair

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    one.gossip.receive(told(one, other))
    assert len(one.host.applied) == 1
    assert one.gossip.unsynced == []
    receipt = one.node.receipts.begin(one.gossip.revoke([one.entry(bytes(16))]), 0.0)
    assert receipt.applied_on == 0


def test_a_log_is_not_filled_by_who_contradicts_himself(pair: Pair) -> None:
    """A person hears of the first of them."""
    one, other = pair
    before = len(one.host.said)
    for _ in range(2 * limits.gossip_alarms_burst):
        one.gossip.receive(sealed(other, one, encode(Push(capsule_of(other).raw))))
    assert len(one.host.said) - before == limits.gossip_alarms_burst


def test_to_sync_is_bounded(pair: Pair) -> None:
    """And each is in it once."""
    one, _ = pair
    for _ in range(2):
        one.gossip.sync_soon(n.to_bytes(8) for n in range(limits.gossip_members_max + 10))
    assert len(one.gossip.to_sync) == limits.gossip_members_max


@pytest.mark.parametrize("skew", [-limits.skew_max, -1, 1, limits.skew_max])
def test_clocks_may_differ(authority: Authority, tmp_path: Path, skew: int) -> None:
    """By so much that all is well, in both directions, also for a certificate of this moment."""
    one = StillMember(authority, tmp_path / "m0", "m0", bootstrap=True)
    other = StillMember(authority, tmp_path / "m1", "m1", bootstrap=True)
    other.host.time += skew
    acquaint(one, other)
    one.gossip.receive(told(one, other))
    other.gossip.receive(told(other, one))
    assert len(one.host.applied) == len(other.host.applied) == 1


@pytest.mark.parametrize("skew", [-7200, 7200, 10**9])
def test_a_clock_that_is_far_off_is_its_own_harm(pair: Pair, skew: int) -> None:
    """The others go on as before."""
    one, other = pair
    number = one.membership.keys.number
    other.host.time += skew
    other.membership.rotate(other.node)
    one.hears(other)
    for datagram in other.outbox():
        one.gossip.receive(datagram)
    one.gossip.upkeep()
    assert one.membership.keys.number == number
    assert one.others == {other.id}


def test_goodbye_is_said(pair: Pair) -> None:
    """To those who are there."""
    one, other = pair
    one.gossip.farewell()
    for datagram in one.outbox():
        other.gossip.receive(datagram)
    assert list(other.node.members.reachable) == []


@pytest.mark.parametrize("wrong", ["other key", "no gateway"])
def test_a_member_that_cannot_be_does_not_begin(
    authority: Authority, tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate and a signing key that do not belong together."""
    certify: Callable[..., object] = authority.certify
    if wrong == "other key":
        monkeypatch.setattr(
            authority,
            "certify",
            lambda folder, name, _, **kw: certify(folder, name, Ed25519PrivateKey.generate(), **kw),
        )
    else:
        monkeypatch.setattr(Authority, "__init__", Authority.__init__)
        (tmp_path / "ca").mkdir()
        authority.file.write_bytes(Authority(tmp_path / "ca").file.read_bytes())
    with pytest.raises(GossipError):
        StillMember(authority, tmp_path / "m0", "m0")
