"""One is evicted by the word of a person: when that is safe, and what it does."""

from pathlib import Path

import pytest
import trio
from agent_world import Hands, Start
from cluster_agent import ME, Clustered

from crewgate import limits
from crewgate.agent.cluster.cluster_status import rows
from crewgate.agent.ipc_server.admin_session import converse
from crewgate.agent.ipc_server.cluster_admin import evict, rotate
from crewgate.agent.state import AgentState
from crewgate.core.audit.records import Record
from crewgate.core.ids import orchestrator_key
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import AdminRequest, RevocationReceipt, owner_answers
from crewgate.ipc.attach_messages import RequestFailed, pack
from crewgate.ipc.cluster_messages import (
    EvictMember,
    GetMachineClusterStatus,
    GetMembers,
    RotateGroupKeys,
)
from crewgate.ipc.frames import FrameDecoder


async def do(clustered: Clustered, name: str, *, force: bool = False) -> RevocationReceipt:
    ask = EvictMember(id=1, name=name, until="local", force=force)
    return await evict(clustered.machine, clustered.cluster, ask)


async def test_one_that_is_forgotten_is_revoked_and_goes_with_a_majority(
    clustered: Clustered, autojump_clock: trio.testing.MockClock, written: list[Record]
) -> None:
    """Its certificates are dead here and it has no key; it counts until the others were asked."""
    gone, stays = clustered.other("gone"), clustered.other("stays")
    clustered.hands.go(1)
    receipt = await do(clustered, "gone")
    assert receipt.reach.of == 3
    key, at = orchestrator_key("", "gateway/gone"), clustered.cluster.wall()
    assert clustered.machine.table.is_revoked(key, at)
    gossip = clustered.cluster.gossip
    assert gone.id not in gossip.membership.certificates
    assert gossip.node.freshness.leaving == (gone.id,)
    assert list(gossip.membership.keyring)[-1].voids
    clustered.hands.go(1)
    clustered.compare(stays)
    assert gossip.node.freshness.others == (stays.id,)
    assert written[-1].id == "gateway/gone"  # type: ignore[attr-defined]
    with pytest.raises(ServiceRefusedError, match="was evicted before"):
        await do(clustered, "gone")


async def test_a_member_without_a_certificate_is_forgotten_by_its_id(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """The disk may have lost the certificate: it would count for ever, and have no name."""
    lost, stays = clustered.other("lost"), clustered.other("stays")
    gossip = clustered.cluster.gossip
    gossip.save()
    for path in (clustered.machine.active_config.config.state / "gossip").glob(
        f"{lost.id.hex()}-*"
    ):
        path.unlink()
    clustered.cluster._sockets.close()
    with clustered.begun(bootstrap=False):
        gossip = clustered.cluster.gossip
        assert set(gossip.node.freshness.others) == {lost.id, stays.id}
        assert lost.id.hex() in [row.name for row in rows(gossip)]
        with pytest.raises(ServiceRefusedError, match="this machine waits for"):
            await do(clustered, lost.id.hex())
        clustered.compare(stays)
        receipt = await do(clustered, lost.id.hex())
        assert (receipt.targets == [], gossip.node.freshness.others) == (True, (stays.id,))
        assert ", of which no certificate is here, does not count any more" in log_lines[-1]
        with pytest.raises(ServiceRefusedError, match="no machine"):
            await do(clustered, lost.id.hex())
    with clustered.begun(bootstrap=False):
        gossip = clustered.cluster.gossip
        assert gossip.node.freshness.others == (stays.id,)
        gossip.membership.certificates.admit(lost.credential)  # as a peer would hand it on
        assert lost.id not in gossip.membership.certificates


@pytest.mark.parametrize(
    ("name", "why"),
    [("nobody", "no machine 'nobody'; `crewgate cluster members` lists"), (ME, "is this machine")],
)
async def test_whoever_is_no_other_machine_cannot_be_forgotten(
    clustered: Clustered, name: str, why: str
) -> None:
    """The words say what to do."""
    clustered.other("b")
    with pytest.raises(ServiceRefusedError, match=why):
        await do(clustered, name)


async def test_who_is_out_of_touch_or_would_be_needs_force(
    clustered: Clustered, autojump_clock: trio.testing.MockClock, log_lines: list[str]
) -> None:
    """Of two, none can agree without the other; by force it stops being counted at once."""
    other = clustered.other("b")
    with pytest.raises(
        ServiceRefusedError,
        match=r"a majority of the 2 machines must agree .* without b no majority answers",
    ):
        await do(clustered, "b")
    clustered.hands.go(60)
    with pytest.raises(
        ServiceRefusedError, match=r"waits for any missing revocations: .* use --force on each"
    ):
        await do(clustered, "b")
    assert other.id in clustered.cluster.gossip.membership.certificates
    await do(clustered, "b", force=True)
    assert clustered.cluster.gossip.node.freshness.others == ()
    assert clustered.cluster.synced_until_ns() == limits.never_ns
    assert "gateway b does not count any more: evicted with --force" in log_lines


async def test_of_three_without_touch_of_the_third_force_is_needed(clustered: Clustered) -> None:
    """The one that is to go may not be among those who agree."""
    clustered.other("b")
    clustered.hands.go(60)
    clustered.compare(clustered.other("c", counts=False))
    with pytest.raises(
        ServiceRefusedError,
        match=r"a majority of the 3 machines must agree .* without c no majority answers",
    ):
        await do(clustered, "c")


async def test_whose_revocations_nobody_obeys_sends_nobody_away(
    start: Start, hands: Hands, tmp_path: Path
) -> None:
    """Without the right in its certificate."""
    with Clustered(start, hands, tmp_path / "ca", ()).begun(bootstrap=True) as one:
        one.other("b")
        one.other("c")
        with pytest.raises(ServiceRefusedError, match="lacks the right revoke"):
            await do(one, "b")


def test_keys_follow_one_another_no_faster_than_they_are_taken_up(clustered: Clustered) -> None:
    """Or the one in use would be forgotten; one that ends the others is in use at once."""
    first = rotate(clustered.cluster, RotateGroupKeys(id=1))
    assert (first.keys, first.used_after_seconds) == (1, limits.group_key_settle_seconds)
    clustered.hands.go(20)
    with pytest.raises(ServiceRefusedError, match="not in use yet, but in 100 s"):
        rotate(clustered.cluster, RotateGroupKeys(id=2))
    assert rotate(clustered.cluster, RotateGroupKeys(id=3, voids=True)).used_after_seconds == 0
    clustered.hands.go(1)
    assert rotate(clustered.cluster, RotateGroupKeys(id=4)).keys == 3


async def asked(machine: AgentState, ask: AdminRequest) -> object:
    """What the owner's door answers."""
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(converse, machine, theirs)
        async with ours:
            await ours.send_all(pack(ask))
            (body,) = FrameDecoder().feed(await ours.receive_some(65536))
    return owner_answers.decode(body)


async def test_the_door_has_them_all(clustered: Clustered) -> None:
    """Rows, how it stands, keys, and who is not to be forgotten."""
    machine = clustered.machine
    page = await asked(machine, GetMembers(id=1))
    assert [row.name for row in page.rows] == [ME]  # type: ignore[attr-defined]
    assert (page.id, page.last) == (1, True)  # type: ignore[attr-defined]
    assert await asked(machine, GetMachineClusterStatus(id=2)) == clustered.cluster.status(2)
    assert (await asked(machine, RotateGroupKeys(id=3))).keys == 1  # type: ignore[attr-defined]
    refused = await asked(machine, EvictMember(id=4, name=ME))
    assert isinstance(refused, RequestFailed)


async def test_a_machine_without_a_cluster_says_what_to_add(start: Start) -> None:
    """In words for a person."""
    refused = await asked(start(), GetMembers(id=1))
    assert isinstance(refused, RequestFailed)
    assert refused.message.startswith(
        "this machine has no [cluster], so it has no other machines; add"
    )
