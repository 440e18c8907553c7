"""One round of the periodic work on the register: what a crash or a full disk has left to do.

The control process does it once a second. All of it is one piece of work for one thread: threads
that begin at the same time wait for one another.
"""

from contextlib import suppress
from typing import NamedTuple

from crewgate.control.ca_service import CAService
from crewgate.errors import CAError, ServiceConnectionError, ServiceRefusedError


class RegisterState(NamedTuple):
    """What a round has found: why the agent and the CRL lack revocations; empty if they lack none.

    `has_runs`: an orchestrator is running or ending, or the register cannot tell.
    """

    agent_lacks: str
    crl_lacks: str
    has_runs: bool


def keep_up(service: CAService, patience: float) -> RegisterState:
    """Complete the CRL and the revocations of `service`; see `CAService.complete`. Blocks."""
    agent_lacks, crl_lacks, has_runs = "", "", True
    try:
        service.catch_up()
    except CAError as error:
        crl_lacks = str(error)
    try:
        service.complete(patience)
    except (ServiceConnectionError, ServiceRefusedError, CAError) as error:
        agent_lacks = str(error)
    # If this fails, the caller tries to complete decommissions, and reports why that fails.
    with suppress(CAError):
        has_runs = service.has_runs()
    return RegisterState(agent_lacks, crl_lacks, has_runs)
