"""What becomes of a branch whose tool stated more than its call may cost: the branch is ended.

The rest is recorded and charged to nobody: it was spent, and no budget had it. Nobody has asked for
this end, so it is that branch's alone, however many of them there are: where the table has no room
to revoke it, its account is closed. A worker tells of each until it hears that it was noted, so it
is noted last: whoever is killed meanwhile, it is told again and ends no less.
"""

from crewgate.agent.grant_checks import check
from crewgate.agent.revocation.fanout import Told
from crewgate.agent.state import Machine
from crewgate.core.audit import record_builder, records
from crewgate.core.credits import format_credits
from crewgate.errors import RefusedError
from crewgate.ipc.attach_messages import Noted, Overran


def overran(machine: Machine, told: Overran) -> Noted:
    """End the branch of an overrun, and note it once; LinkError if the message contradicts itself.

    What is returned is for who told it.
    """
    check(told.grant)
    if told.id not in machine.notes:
        _end(machine, told)
        key, clocks = told.grant.branch_key, machine.clock.read()
        machine.notes.add(told.id, key, told.amount, clocks.wall)
        machine.lessor.overran(key, told.amount, clocks.boot_ns)
    return Noted(id=told.id)


def _end(machine: Machine, told: Overran) -> None:
    grant, ended = told.grant, "ended"
    try:
        revoked = machine.revoke(grant.branch, grant.crew, coarsens=False)
    except RefusedError as error:
        ended = f"closed in the ledger alone ({error})"
        machine.lessor.close(grant.branch_key)
        machine.record([_closed(machine, told)])
    else:
        machine.telling.end(revoked)  # nobody waits for a receipt
        machine.close(revoked.done)
        machine.record([_revoked(machine, told, revoked)])
    machine.say(
        f"an answer for branch {grant.branch} stated {format_credits(told.amount)} credits more "
        f"than its call may cost: the branch is {ended}; see the audit for the tool"
    )


def _revoked(machine: Machine, told: Overran, revoked: Told) -> records.Revocation:
    return records.Revocation(
        **record_builder.who(told.grant),
        time=records.when(machine.clock.wall_ns()),
        target=revoked.done.target,
        id=revoked.done.id,
        by="overrun",
        workers=revoked.attachments,
    )


def _closed(machine: Machine, told: Overran) -> records.Revocation:
    return records.Revocation(
        **record_builder.who(told.grant),
        time=records.when(machine.clock.wall_ns()),
        target="account",
        id=told.grant.branch,
        by="overrun",
    )
