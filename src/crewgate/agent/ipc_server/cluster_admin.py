"""Serves requests about the other machines: the members, evictions, and new gossip keys.

It allows an eviction only if the remaining members can agree on it without the evicted one.
"""

import logging

from crewgate import limits
from crewgate.agent.cluster import cluster_status
from crewgate.agent.cluster.cluster import Cluster
from crewgate.agent.ipc_server.message_stream import MessageStream, pages
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.state import AgentState
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import MAY_REVOKE, member_id
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.gossip.member_verification import KnownMember
from crewgate.ipc import cluster_messages as messages
from crewgate.ipc.admin_messages import AdminRequest, RevocationReceipt, Revoke

_log = logging.getLogger(__name__)


async def answer(
    agent: AgentState, connection: MessageStream[AdminRequest], request: messages.ClusterRequest
) -> None:
    """Answer one request. Raises ServiceRefusedError."""
    cluster = agent.fanout.others
    if not isinstance(cluster, Cluster):
        raise ServiceRefusedError("this machine has no other machines")
    if isinstance(request, messages.GetMembers):
        for rows, last in pages(cluster_status.rows(cluster.gossip)):
            await connection.send(messages.MembersPage(id=request.id, rows=rows, last=last))
    elif isinstance(request, messages.GetMachineClusterStatus):
        await connection.send(cluster.status(request.id))
    elif isinstance(request, messages.EvictMember):
        await connection.send(await evict(agent, cluster, request))
    elif isinstance(request, messages.RotateGroupKeys):
        await connection.send(rotate(cluster, request))
    else:
        raise ServiceConnectionError("the agent does not serve such a request about other machines")


async def evict(
    agent: AgentState, cluster: Cluster, request: messages.EvictMember
) -> RevocationReceipt:
    """Revoke all certificates of a member, and create a key that it does not get.

    Members still apply what it has signed before, and nothing that it signs later. With `force`,
    this machine stops counting it at once, without the agreement of the others. Raises
    ServiceRefusedError.
    """
    gossip = cluster.gossip
    nameless = _nameless(cluster, request.name)
    if nameless is not None:
        return _evict_nameless(agent, cluster, request, nameless)
    member = _named(cluster, request.name)
    if not request.force:
        if not gossip.membership.me.may_revoke:
            raise ServiceRefusedError(
                f"this machine's certificate lacks the right {MAY_REVOKE}, so no other machine "
                "would evict it; run the command on a machine with that right"
            )
        _require_agreement(cluster, member.id)
    revocation = Revoke(
        id=request.id,
        targets=[RevocationTarget(EntityKind.ORCHESTRATOR, member.identity.label)],
        until="local" if request.force else request.until,
    )
    receipt = await revoke(agent, revocation, agent.clock.monotonic_ns(), is_known=True)
    if request.force:
        gossip.drop(member.id)
        _log.info("gateway %s does not count any more: evicted with --force", member.name)
    return receipt


def rotate(cluster: Cluster, request: messages.RotateGroupKeys) -> messages.GroupKeysRotated:
    """Create a new key. Raises ServiceRefusedError while the last one is not in use yet."""
    membership, wall = cluster.gossip.membership, cluster.wall()
    latest = list(membership.keyring)[-1:]
    if latest and not request.voids and not membership.keyring.is_settled(latest[0], wall):
        left = membership.keyring.settles_at(latest[0]) - wall
        raise ServiceRefusedError(
            f"the last key is not in use yet, but in {left} s; try again then, or at once with "
            "--revoke-old if a key has leaked"
        )
    membership.rotate(cluster.gossip.node, voids=request.voids)
    settle = 0 if request.voids else limits.group_key_settle_seconds
    keys = len(list(membership.keyring))
    return messages.GroupKeysRotated(id=request.id, keys=keys, used_after_seconds=settle)


def _nameless(cluster: Cluster, name: str) -> bytes | None:
    """Return the counted member of this ID if no certificate of it is here; None otherwise."""
    try:
        member = bytes.fromhex(name)
    except ValueError:
        return None
    membership = cluster.gossip.membership
    # The text may be a machine's name that looks like an ID.
    if membership.certificates.get(member_id(name)) is not None:
        return None
    is_counted = member in cluster.gossip.node.freshness.others
    return member if is_counted and membership.certificates.get(member) is None else None


def _evict_nameless(
    agent: AgentState, cluster: Cluster, request: messages.EvictMember, member: bytes
) -> RevocationReceipt:
    """Stop counting a member without a certificate on this machine. Raises ServiceRefusedError.

    The other machines cannot be told, because they know members by the names in certificates. No
    certificate that was issued before makes it a member again.
    """
    if not request.force:
        _require_agreement(cluster, member)
    cluster.gossip.drop(member)
    _log.info("member %s, of which no certificate is here, does not count any more", member.hex())
    return RevocationReceipt(id=request.id, read_ns=agent.clock.monotonic_ns())


def _named(cluster: Cluster, name: str) -> KnownMember:
    membership, others = cluster.gossip.membership, cluster.gossip.node.freshness.others
    if name == membership.me.name:
        raise ServiceRefusedError(
            f"{name} is this machine; evict it on another one, or stop it and remove [cluster]"
        )
    found = membership.certificates.get(member_id(name))
    if found is None:
        raise ServiceRefusedError(f"no machine {name!r}; `crewgate cluster members` lists them")
    if found.id not in others and found.id not in membership.certificates:
        raise ServiceRefusedError(f"{name} was evicted before, and does not count any more")
    return found


def _require_agreement(cluster: Cluster, member: bytes) -> None:
    """Raise ServiceRefusedError unless the remaining members can agree on the eviction."""
    gossip, touch = cluster.gossip, cluster.in_touch()
    name = cluster.name(member)
    forced = f"if {name} is gone for good, use --force on each remaining machine"
    reason = cluster.waiting_for()
    if reason:
        raise ServiceRefusedError(f"this machine waits for {reason}; {forced}")
    oldest = cluster.now() - cluster.staleness
    others = (each for each in gossip.node.freshness.others if each != member)
    staying = sum(gossip.node.freshness.compared_at(each) > oldest for each in others)
    if staying < touch.needed:
        raise ServiceRefusedError(
            f"a majority of the {touch.members} machines must agree on the eviction, and without "
            f"{name} no majority answers; {forced}"
        )
