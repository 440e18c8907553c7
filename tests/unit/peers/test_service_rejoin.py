"""Members that have given one another up find one another again."""

from pathlib import Path

import pytest
from company import HOST, Authority, Member, until

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.peers import conversation
from crewgate.peers.credentials import Known
from crewgate.peers.gossip import Gossip
from crewgate.peers.stream import Line


async def test_one_that_began_while_it_was_cut_off_is_back_when_it_is_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no key, and either has given the other up: it dials whom it knows from before."""
    monkeypatch.setattr(limits, "suspect_seconds", 0.1)
    monkeypatch.setattr(limits, "join_seconds", 0.1)
    begin, is_cut = conversation.begin, True

    async def cut(gossip: Gossip, line: Line) -> Known:
        if is_cut:
            raise GossipError("nobody comes through")
        return await begin(gossip, line)

    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    async with first.serving():
        second = Member(authority, tmp_path / "m1", "m1", [first.where])
        async with second.serving():
            await until(lambda: second.counts and first.others == 1)
        await until(lambda: not first.gossip.node.members.there)
        monkeypatch.setattr(conversation, "begin", cut)
        again = Member(authority, tmp_path / "m1", "m1", [first.where], born=1)
        async with again.serving():
            await until(lambda: bool(again.host.said))
            assert not again.gossip.node.members.there
            assert not again.is_fresh
            is_cut = False
            await until(lambda: again.is_fresh and first.is_fresh)
    assert again.host.said == [f"peer {HOST}:{first.where[1]}: nobody comes through"]
