"""What becomes of a branch whose tool stated more than its call may cost: the branch is ended.

The rest is recorded and charged to nobody: it was spent, and no budget had it.
"""

from crewgate.agent.grants import check
from crewgate.agent.machine import Machine
from crewgate.core import calls, record
from crewgate.core.credits import format_credits
from crewgate.errors import RefusedError
from crewgate.link.messages import Overran


def overran(machine: Machine, told: Overran) -> None:
    """Note an overrun, and end its branch; LinkError if the message contradicts itself."""
    grant = told.grant
    check(grant)
    machine.lessor.overran(grant.branch_key, told.amount, machine.clock.boot_ns())
    machine.say(
        f"an answer for branch {grant.branch} stated {format_credits(told.amount)} credits more "
        "than its call may cost: the branch is ended; see the audit for the tool"
    )
    try:
        ended = machine.revoke(grant.branch, grant.crew)
    except RefusedError as error:
        machine.say(f"branch {grant.branch} is closed in the ledger only: {error}")
        machine.lessor.close(grant.branch_key)
        return
    machine.cuts.end(ended.number)  # nobody waits for a receipt
    machine.close(ended.done)
    machine.record(
        [
            record.Revocation(
                **calls.who(grant),
                time=record.when(machine.clock.wall_ns()),
                target="branch",
                id=grant.branch,
                by="overrun",
                workers=ended.attachments,
            )
        ]
    )
