"""What becomes of a branch whose tool stated more than its call may cost: the branch is ended.

The rest is recorded and charged to nobody: it was spent, and no budget had it. Nobody has asked for
this end, so it is that branch's alone, however many of them there are: where the table has no room
to revoke it, its account is closed.
"""

from crewgate.agent.grants import check
from crewgate.agent.machine import Machine, Told
from crewgate.core import calls, record
from crewgate.core.credits import format_credits
from crewgate.errors import RefusedError
from crewgate.link.messages import Overran


def overran(machine: Machine, told: Overran) -> None:
    """Note an overrun, and end its branch; LinkError if the message contradicts itself."""
    grant = told.grant
    check(grant)
    machine.lessor.overran(grant.branch_key, told.amount, machine.clock.boot_ns())
    ended = "ended"
    try:
        revoked = machine.revoke(grant.branch, grant.crew, coarsens=False)
    except RefusedError as error:
        ended = f"closed in the ledger alone ({error})"
        machine.lessor.close(grant.branch_key)
        machine.record([_closed(machine, told)])
    else:
        machine.cuts.end(revoked.number)  # nobody waits for a receipt
        machine.close(revoked.done)
        machine.record([_revoked(machine, told, revoked)])
    machine.say(
        f"an answer for branch {grant.branch} stated {format_credits(told.amount)} credits more "
        f"than its call may cost: the branch is {ended}; see the audit for the tool"
    )


def _revoked(machine: Machine, told: Overran, revoked: Told) -> record.Revocation:
    return record.Revocation(
        **calls.who(told.grant),
        time=record.when(machine.clock.wall_ns()),
        target=revoked.done.target,
        id=revoked.done.id,
        by="overrun",
        workers=revoked.attachments,
    )


def _closed(machine: Machine, told: Overran) -> record.Revocation:
    return record.Revocation(
        **calls.who(told.grant),
        time=record.when(machine.clock.wall_ns()),
        target="account",
        id=told.grant.branch,
        by="overrun",
    )
