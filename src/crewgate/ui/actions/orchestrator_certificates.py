"""Revokes the certificates of an orchestrator, in a short-lived process that reads the CA's key.

The process of the page never has the key: browsers talk to it.
"""

import sys
from typing import Any

import msgspec
import trio

from crewgate import limits
from crewgate.api.access import malformed
from crewgate.api.access import orchestrator as split
from crewgate.ca.authority import has_key
from crewgate.config import Config
from crewgate.core import problem_types
from crewgate.errors import ControlError
from crewgate.ui.actions.action_request import ActionRequest


class CertificateOrder(msgspec.Struct, frozen=True):
    """What the child process reads from its standard input."""

    crew: str
    name: str
    reason: str
    by: str


class CertificateReceipt(msgspec.Struct, frozen=True):
    """What the child process writes: lines for a person, and the agent's receipt."""

    lines: list[str]
    receipt: dict[str, Any]


async def revoke(config: Config, asked: ActionRequest, by: str) -> tuple[list[str], dict[str, Any]]:
    """Return the lines and the receipt. Raises ControlError 400, or 409 if it cannot be done."""
    crew, name = split(asked.only("orchestrator"))
    if crew != asked.owner:
        malformed(f"orchestrator: expected one of crew {asked.owner}")
    if config.ca is None or not has_key(config.ca):
        raise problem_types.REFUSED.error(
            "the key of the CA is not on this machine: open the page of the machine that has it, "
            f"or run `crewgate decommission {crew}/{name}` there; to end the tokens of the "
            "orchestrator now, end it here"
        )
    told = CertificateOrder(crew, name, asked.reason or "unspecified", by)
    module = "crewgate.ui.actions.revoke_certificates"
    with trio.move_on_after(limits.ui_ca_seconds_max):
        done = await trio.run_process(
            [sys.executable, "-P", "-m", module, "-c", str(config.path)],
            stdin=msgspec.json.encode(told),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode:
            raise _failed(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
        found = msgspec.json.decode(done.stdout, type=CertificateReceipt)
        return found.lines, found.receipt
    raise _failed(f"it took more than {limits.ui_ca_seconds_max:g} s")


def _failed(why: str) -> ControlError:
    return problem_types.REFUSED.error(
        f"the certificates may be in force still: {why[: limits.health_text_chars_max]}; "
        "try it again, it does no harm"
    )
