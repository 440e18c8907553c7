"""Datagrams are counted, and those that are refused by their reasons."""

import os
from pathlib import Path

from gossip_members import Authority, Member
from socketless_members import StillMember

from crewgate.gossip.datagram_crypto import Encryptor, KeySet


def test_each_refusal_has_its_reason(tmp_path: Path) -> None:
    """What it looks like, its key, its seal, its counter, and what it says."""
    authority = Authority(tmp_path)
    one = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    gossip, me = one.gossip, one.gossip.membership.me.id
    gossip.membership.keyring.make(one.host.wall())
    other = StillMember(authority, tmp_path / "m1", "m1")
    gossip.membership.introduce([other.membership.me.credential])
    good = Encryptor(other.id, os.urandom(8), gossip.membership.keys)
    strange = KeySet()
    strange.use({2**24 - 1: os.urandom(32)}, 2**24 - 1)
    odd = good.seal(me, b"\xff")
    for datagram in (
        Encryptor(b"stranger", os.urandom(8), gossip.membership.keys).seal(me, b"\xff"),
        b"",
        Encryptor(other.id, os.urandom(8), strange).seal(me, b"\xff"),
        good.seal(os.urandom(8), b"\xff"),
        odd,
        odd,
    ):
        gossip.receive(datagram)
    assert gossip.traffic.received == 6
    assert gossip.traffic.refused == {
        "malformed": 1,
        "unknown sender": 1,
        "unknown key": 1,
        "not authentic": 1,
        "invalid message": 1,
        "replayed": 1,
    }
    assert gossip.traffic.sent == 0
    one.sockets.close()
    gossip.log.close()
