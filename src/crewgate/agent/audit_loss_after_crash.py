"""What the audit may have lost when the machine went down while it served, said at the next start.

A file in the state folder has the boot in which this machine serves; the agent removes it when it
ends in order. An earlier boot stays there until the agent has said what may be lost, so a start
that fails leaves that to the next one. The audit cannot say how many calls are lost. The ledger
knows what was spent: if it is this machine's alone and the audit is whole, the agent compares the
two.
"""

import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.config import AuditConfig, Config
from crewgate.core.audit.records import ServiceEvent, when
from crewgate.core.credits import format_credits
from crewgate.runtime.durable_files import remove_file, write_file

_log = logging.getLogger(__name__)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROMISED = {
    "second": 'lines of its last second may be lost ([audit] sync = "each" loses none)',
    "each": 'no line of a call that was answered is lost, as [audit] sync = "each" says',
    "never": 'lines that the kernel had not written are lost, half a minute of them, as [audit] '
    'sync = "never" says',
}  # fmt: skip


class ReconcileDifference(msgspec.Struct, frozen=True):
    """Of one branch, as `crewgate ledger reconcile --json` says it; micro-credits."""

    ledger_spent_micro: int
    audit_spent_micro: int


class ReconcileResult(msgspec.Struct, frozen=True):
    """What that command answers."""

    differences: list[ReconcileDifference]


def stopped_uncleanly(state: Path, boot: Path = _BOOT) -> bool:
    """Whether this machine served in an earlier boot that did not end in order."""
    try:
        before = _file(state).read_bytes().strip()
    except OSError:
        return False
    return before != _now(boot)  # an empty one, too, is of a disk that lost its power


def mark_started(state: Path, boot: Path = _BOOT) -> None:
    """Note that this machine serves in this boot, and that no earlier one is left to tell of."""
    with suppress(OSError):  # then a power loss is not noticed
        write_file(_file(state), _now(boot), 0o600)


def mark_stopped(state: Path, boot: Path = _BOOT) -> None:
    """The agent has ended by itself; an earlier boot that it has not told of is left."""
    with suppress(OSError):
        if not stopped_uncleanly(state, boot):
            remove_file(_file(state))


def _file(state: Path) -> Path:
    return state / "serving"


def _now(boot: Path) -> bytes:
    return boot.read_bytes().strip()


def sync_promise(audit: AuditConfig) -> str:
    """What a person reads of a machine that went down."""
    return f"the machine went down while it served: in the audit {_PROMISED[audit.sync]}"


async def compare(config: Config) -> int:
    """Say what the ledger has more than the audit; in how many branches."""
    if config.ledger.engine != "sqlite" or config.audit.keep_bytes is not None:
        _log.info(
            "`crewgate ledger reconcile` compares ledger and audit, as far as each has all of both"
        )
        return 0
    # -P: Python does not import a file named trio.py in the present folder.
    command = [sys.executable, "-P", "-m", "crewgate.cli", "ledger", "reconcile", "--json", "-c"]
    done = None
    with trio.move_on_after(limits.reconcile_seconds_max):
        done = await trio.run_process(
            [*command, str(config.path)],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
            deliver_cancel=_kill,
        )
    try:
        found = msgspec.json.decode(done.stdout if done else b"", type=ReconcileResult).differences
    except msgspec.DecodeError:
        _log.warning("ledger and audit could not be compared; ask `crewgate ledger reconcile`")
        return 0
    more = [each.ledger_spent_micro - each.audit_spent_micro for each in found]
    more = [each for each in more if each > 0]
    if not more:
        _log.info("the audit tells of all that the ledger knows to be spent")
        return 0
    branches = "1 branch" if len(more) == 1 else f"{len(more)} branches"
    _log.warning(
        "the ledger has %s credits spent by %s of which no line of the audit tells; `crewgate "
        "ledger reconcile` says which",
        format_credits(sum(more)),
        branches,
    )
    return len(more)


async def report_lost_records(agent: AgentState) -> None:
    """Compare, and have the audit itself say in how many branches it lacks lines."""
    count = await compare(agent.active_config.config)
    if count:
        now = when(agent.clock.wall_ns())
        agent.record([ServiceEvent(time=now, event="audit-lost", count=count)])
    await trio.to_thread.run_sync(mark_started, agent.active_config.config.state)


async def _kill(process: trio.Process) -> None:
    """End it at once: it only reads, and an agent that ends has less time than Trio would give."""
    process.kill()
