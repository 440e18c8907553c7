"""Members over real sockets: they find one another, tell, acknowledge, and refuse strangers."""

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gossip_members import Authority, Member, chain_of, until

from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.gossip.member_verification import SignedMemberRecord


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One CA."""
    return Authority(tmp_path)


async def together(
    stack: AsyncExitStack, authority: Authority, folder: Path, count: int
) -> list[Member]:
    """So many, the first by an operator's word, and all fresh."""
    first = Member(authority, folder / "m0", "m0", bootstrap=True)
    members = [first]
    members += [
        Member(authority, folder / f"m{n}", f"m{n}", [first.where]) for n in range(1, count)
    ]
    for member in members:
        await stack.enter_async_context(member.serving())
    await until(lambda: all(each.is_fresh and each.others == count - 1 for each in members))
    return members


async def revoke(member: Member, entry: RevocationEntry) -> tuple[int, int]:
    """Until all have it: on how many it is applied, of how many."""
    gossip = member.gossip
    receipt = gossip.node.receipts.begin(gossip.revoke([entry]), gossip.host.now())
    await member.service.wait(receipt, lambda each: each.is_everywhere and each.has_quorum)
    gossip.node.receipts.end(receipt)
    return receipt.applied_on, receipt.of


async def test_what_one_revokes_all_obey_and_acknowledge(
    authority: Authority, tmp_path: Path
) -> None:
    """Four, of whom three know one address alone."""
    async with AsyncExitStack() as stack:
        members = await together(stack, authority, tmp_path, 4)
        for member in members:
            entry = member.entry(os.urandom(16))
            assert await revoke(member, entry) == (4, 4)
            assert all(entry.key in each.host.applied for each in members if each is not member)


async def test_one_that_comes_back_has_all_that_it_missed(
    authority: Authority, tmp_path: Path
) -> None:
    """With its folder it counts at once, and is fresh when it has asked a majority."""
    async with AsyncExitStack() as stack:
        members = await together(stack, authority, tmp_path, 3)
        first, second = (members[0].entry(os.urandom(16)) for _ in range(2))
        one = Member(authority, tmp_path / "m9", "m9", [members[0].where])
        async with one.serving():
            await until(lambda: one.counts and all(each.others == 3 for each in members))
            await revoke(members[0], first)
        members[0].gossip.revoke([second])
        again = Member(authority, tmp_path / "m9", "m9", [members[0].where], born=1)
        assert first.key in again.host.applied
        assert again.counts
        assert not again.is_fresh
        async with again.serving():
            await until(lambda: again.is_fresh)
            assert second.key in again.host.applied


async def test_another_ca_is_a_stranger(authority: Authority, tmp_path: Path) -> None:
    """It learns nothing, and changes nothing."""
    (tmp_path / "other").mkdir()
    async with AsyncExitStack() as stack:
        members = await together(stack, authority, tmp_path, 2)
        other = Authority(tmp_path / "other")
        stranger = Member(other, tmp_path / "stranger", "m1", [members[0].where])
        await stack.enter_async_context(stranger.serving())
        await until(lambda: bool(stranger.host.said))
        assert "TLS handshake failed: its certificate is from another CA" in stranger.host.said[0]
        assert stranger.others == 0
        assert not stranger.gossip.membership.keys.number
        assert [each.others for each in members] == [1, 1]


async def test_a_renewed_certificate_is_shown_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    """Of the same name and signing key: the next stream shows it, and others hand it on."""
    async with AsyncExitStack() as stack:
        first, second, third = await together(stack, authority, tmp_path, 3)
        me = first.gossip.membership.me
        await until(lambda: first.host.wall() > me.issued)  # or nobody could tell which is newer
        authority.certify(tmp_path / "m0", "m0", first.signing)
        chain = chain_of(first.files.certificate)
        first.gossip.renew(SignedMemberRecord(chain, me.credential.host, me.credential.port))
        first.gossip.sync_soon([second.gossip.membership.me.id])

        def shown(member: Member) -> tuple[bytes, ...]:
            known = member.gossip.membership.certificates.get(me.id)
            return known.credential.chain if known else ()

        await until(lambda: shown(second) == chain)
        second.gossip.sync_soon([third.gossip.membership.me.id])
        await until(lambda: shown(third) == chain)
        assert all(each.is_fresh and each.others == 2 for each in (first, second, third))
