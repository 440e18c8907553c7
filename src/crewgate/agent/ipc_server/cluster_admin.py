"""The owner's questions about the other machines: who they are, one to evict, other keys.

Decides when sending one away is safe: those who stay must be able to agree on it without it.
"""

import logging

from crewgate import limits
from crewgate.agent.cluster import cluster_status
from crewgate.agent.cluster.cluster import Cluster
from crewgate.agent.ipc_server.message_stream import MessageStream
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.state import AgentState
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import MAY_REVOKE, member_id
from crewgate.errors import LinkError, RefusedError
from crewgate.gossip.member_certificates import KnownMember
from crewgate.ipc.admin_messages import AdminRequest, RevocationReceipt, Revoke
from crewgate.ipc.cluster_messages import (
    ClusterRequest,
    EvictMember,
    GetClusterStatus,
    GetMembers,
    GroupKeysRotated,
    RotateGroupKeys,
)

_log = logging.getLogger(__name__)


async def answer(agent: AgentState, talk: MessageStream[AdminRequest], ask: ClusterRequest) -> None:
    """Answer one; RefusedError."""
    cluster = agent.fanout.others
    if not isinstance(cluster, Cluster):
        raise RefusedError("this machine has no others")
    if isinstance(ask, GetMembers):
        for page in cluster_status.pages(cluster_status.rows(cluster.gossip), ask.id):
            await talk.send(page)
    elif isinstance(ask, GetClusterStatus):
        await talk.send(cluster.status(ask.id))
    elif isinstance(ask, EvictMember):
        await talk.send(await evict(agent, cluster, ask))
    elif isinstance(ask, RotateGroupKeys):
        await talk.send(rotate(cluster, ask))
    else:
        raise LinkError("not a question about the other machines")


async def evict(agent: AgentState, cluster: Cluster, ask: EvictMember) -> RevocationReceipt:
    """Revoke all certificates of a member, and make a key that it does not get; RefusedError.

    What it has signed is obeyed; what it signs from now on is not. By force it stops being counted
    here at once, whatever the others think.
    """
    gossip = cluster.gossip
    nameless = _nameless(cluster, ask.name)
    if nameless is not None:
        return _evict_nameless(agent, cluster, ask, nameless)
    member = _named(cluster, ask.name)
    if not ask.force:
        if not gossip.company.me.may_revoke:
            raise RefusedError(
                f"the certificate of this machine is without the right {MAY_REVOKE}, so no other "
                "would obey; ask a machine that has it"
            )
        _require_agreement(cluster, member.id)
    wish = Revoke(
        id=ask.id,
        targets=[RevocationTarget(EntityKind.ORCHESTRATOR, member.identity.label)],
        until="local" if ask.force else ask.until,
    )
    receipt = await revoke(agent, wish, agent.clock.monotonic_ns(), is_known=True)
    if ask.force:
        gossip.drop(member.id)
        _log.info("gateway %s is not counted any more, by force", member.name)
    return receipt


def rotate(cluster: Cluster, ask: RotateGroupKeys) -> GroupKeysRotated:
    """Make another key; RefusedError while the last one is not in use yet."""
    membership, wall = cluster.gossip.company, cluster.wall()
    latest = list(membership.keyring)[-1:]
    if latest and not ask.voids and not membership.keyring.is_settled(latest[0], wall):
        left = membership.keyring.settles_at(latest[0]) - wall
        raise RefusedError(
            f"the last key is not in use yet, but in {left} s; ask again then, or at once with "
            "--revoke-old, if a key has leaked"
        )
    membership.rotate(cluster.gossip.node, voids=ask.voids)
    settle = 0 if ask.voids else limits.group_key_settle_seconds
    return GroupKeysRotated(
        id=ask.id, keys=len(list(membership.keyring)), used_after_seconds=settle
    )


def _nameless(cluster: Cluster, name: str) -> bytes | None:
    """The member that is counted by this id, and of which no certificate is here."""
    try:
        member = bytes.fromhex(name)
    except ValueError:
        return None
    membership = cluster.gossip.company
    if membership.directory.get(member_id(name)) is not None:  # that is a machine's name after all
        return None
    is_counted = member in cluster.gossip.node.freshness.others
    return member if is_counted and membership.directory.get(member) is None else None


def _evict_nameless(
    agent: AgentState, cluster: Cluster, ask: EvictMember, member: bytes
) -> RevocationReceipt:
    """It is not counted here any more; RefusedError.

    Others know members by the names in certificates, of which there is none, so none can be told.
    No certificate that was issued until now makes it a member again.
    """
    if not ask.force:
        _require_agreement(cluster, member)
    cluster.gossip.drop(member)
    _log.info("member %s, whose certificate is not here, is not counted any more", member.hex())
    return RevocationReceipt(id=ask.id, read_ns=agent.clock.monotonic_ns())


def _named(cluster: Cluster, name: str) -> KnownMember:
    """The member of that name; RefusedError."""
    membership, others = cluster.gossip.company, cluster.gossip.node.freshness.others
    if name == membership.me.name:
        raise RefusedError(
            f"{name} is this machine; have another one evict it, or stop it and take [cluster] out"
        )
    found = membership.directory.get(member_id(name))
    if found is None:
        raise RefusedError(f"no machine {name!r}; `crewgate cluster members` says who there is")
    if found.id not in others and found.id not in membership.directory:
        raise RefusedError(f"{name} was evicted before, and nobody counts it any more")
    return found


def _require_agreement(cluster: Cluster, member: bytes) -> None:
    """Those who stay can agree on it; RefusedError."""
    gossip, touch = cluster.gossip, cluster.in_touch()
    name = cluster.name(member)
    forced = f"if {name} is gone for good, use --force on each machine that remains"
    lacks = cluster.waiting_for()
    if lacks:
        raise RefusedError(f"this machine waits for {lacks}; {forced}")
    oldest = cluster.now() - cluster.staleness
    others = (each for each in gossip.node.freshness.others if each != member)
    staying = sum(gossip.node.freshness.compared_at(each) > oldest for each in others)
    if staying < touch.needed:
        raise RefusedError(
            f"without {name} no majority of the {touch.members} machines answers, which "
            f"must agree that it goes; {forced}"
        )
