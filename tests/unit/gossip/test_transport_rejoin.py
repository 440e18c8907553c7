"""Members find one another again: those who have given one another up, or were sent elsewhere."""

import shutil
from pathlib import Path

import pytest
import trio
from gossip_members import HOST, Authority, Member, until

from crewgate import limits
from crewgate.core.gossip.messages import MemberAddress
from crewgate.errors import GossipError
from crewgate.gossip import sync_session
from crewgate.gossip.member_verification import KnownMember
from crewgate.gossip.node import GossipNode
from crewgate.gossip.stream import SyncStream


async def test_one_that_began_while_it_was_cut_off_is_back_when_it_is_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no key, and either has given the other up: it dials whom it knows from before."""
    monkeypatch.setattr(limits, "suspect_seconds", 0.1)
    monkeypatch.setattr(limits, "join_seconds", 0.1)
    begin, is_cut = sync_session.initiate, True

    async def cut(gossip: GossipNode, line: SyncStream, turn: trio.Lock) -> KnownMember:
        if is_cut:
            raise GossipError("nobody comes through")
        return await begin(gossip, line, turn)

    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    async with first.serving():
        second = Member(authority, tmp_path / "m1", "m1", [first.where])
        async with second.serving():
            await until(lambda: second.counts and first.others == 1)
        await until(lambda: not first.gossip.node.members.reachable)
        monkeypatch.setattr(sync_session, "initiate", cut)
        again = Member(authority, tmp_path / "m1", "m1", [first.where], born=1)
        async with again.serving():
            await until(lambda: bool(again.host.said))
            assert not again.gossip.node.members.reachable
            assert not again.is_fresh
            is_cut = False
            await until(lambda: again.is_fresh and first.is_fresh)
    assert again.host.said == [f"peer {HOST}:{first.where[1]}: nobody comes through"]


async def test_who_runs_on_a_copy_of_a_folder_is_told_of_and_takes_nobodys_place(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others believe the copy, which has told its place last; until the original says it."""
    monkeypatch.setattr(limits, "join_seconds", 0.1)
    monkeypatch.setattr(limits, "join_seconds_max", 0.1)
    first = Member(authority, tmp_path / "m0", "m0", bootstrap=True)
    async with first.serving():
        second = Member(authority, tmp_path / "m1", "m1", [first.where])
        me = second.gossip.membership.me

        def place() -> MemberAddress | None:
            known = first.gossip.membership.certificates.get(me.id)
            return known and known.address

        async with second.serving():
            await until(lambda: second.is_fresh and first.others == 1)
            shutil.copytree(tmp_path / "m1", tmp_path / "copy")
            monkeypatch.setattr(authority, "certify", lambda *_, **__: second.files)
            await until(lambda: second.host.wall() > me.credential.told)  # or none is the later one
            copy = Member(authority, tmp_path / "copy", "m1", [first.where])
            assert copy.gossip.membership.me.credential.chain == me.credential.chain
            async with copy.serving():
                await until(lambda: bool(second.host.said))
            await until(lambda: place() == me.address and second.is_fresh)
    assert any(f"from {HOST} port {copy.where[1]}" in each for each in second.host.said)
