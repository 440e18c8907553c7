"""Datagrams are counted, and those that are refused by their reasons."""

import os
from pathlib import Path

from company import Authority, Member

from crewgate.peers.sealing import Keys, Sealer


def test_each_refusal_has_its_reason(tmp_path: Path) -> None:
    """What it looks like, its key, its seal, its counter, and what it says."""
    one = Member(Authority(tmp_path), tmp_path / "m0", "m0", bootstrap=True)
    gossip, me = one.gossip, one.gossip.company.me.id
    gossip.company.ring.make(one.host.wall())
    good = Sealer(os.urandom(8), os.urandom(8), gossip.company.keys)
    strange = Keys()
    strange.use({2**24 - 1: os.urandom(32)}, 2**24 - 1)
    odd = good.seal(me, b"\xff")
    for datagram in (
        b"",
        Sealer(os.urandom(8), os.urandom(8), strange).seal(me, b"\xff"),
        good.seal(os.urandom(8), b"\xff"),
        odd,
        odd,
    ):
        gossip.receive(datagram)
    assert gossip.traffic.received == 5
    assert gossip.traffic.refused == {
        "no such form": 1,
        "unknown key": 1,
        "not sealed for us": 1,
        "said nothing": 1,
        "came before": 1,
    }
    assert repr(gossip.traffic).startswith("<Traffic sent=0 received=5 ")
    one.sockets.close()
    gossip.log.close()
