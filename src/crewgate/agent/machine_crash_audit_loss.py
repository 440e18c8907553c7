"""Reports which audit lines may be lost after a crash of the whole machine.

While the agent serves, a file in the state folder holds the ID of the present boot; an orderly end
removes it. If the next agent finds another boot there, the machine crashed. The file keeps that
boot until the agent has reported the loss, so a failed start leaves the report to the next one. The
audit cannot say how many lines are lost, but the ledger knows what was spent. If the ledger is a
file of this machine and the audit keeps all lines, the agent compares the two.
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
    "second": 'the lines of the last second may be lost ([audit] sync = "each" would lose none)',
    "each": 'no line of an answered call is lost, because [audit] sync is "each"',
    "never": 'the lines of about half a minute may be lost, because [audit] sync is "never"',
}  # fmt: skip


class LedgerAuditDifference(msgspec.Struct, frozen=True):
    """One branch of the output of `crewgate ledger reconcile --json`; micro-credits."""

    ledger_spent_micro: int
    audit_spent_micro: int


class ReconcileResult(msgspec.Struct, frozen=True):
    """The output of `crewgate ledger reconcile --json`."""

    differences: list[LedgerAuditDifference]


def stopped_uncleanly(state: Path, boot: Path = _BOOT) -> bool:
    """Return whether this machine served in an earlier boot, without an orderly end."""
    try:
        before = _file(state).read_bytes().strip()
    except OSError:
        return False
    # An empty file, too, means a power loss.
    return before != _now(boot)


def mark_started(state: Path, boot: Path = _BOOT) -> None:
    """Save that this machine serves in this boot; there is no earlier boot to report."""
    # If the disk does not take it, the next start does not notice a power loss.
    with suppress(OSError):
        write_file(_file(state), _now(boot), 0o600)


def mark_stopped(state: Path, boot: Path = _BOOT) -> None:
    """Save that the agent has ended in order; keep an earlier boot that it has not reported."""
    with suppress(OSError):
        if not stopped_uncleanly(state, boot):
            remove_file(_file(state))


def _file(state: Path) -> Path:
    return state / "serving"


def _now(boot: Path) -> bytes:
    return boot.read_bytes().strip()


def sync_promise(audit: AuditConfig) -> str:
    """Return the log line about a crash: what the `sync` setting promises."""
    return f"the machine crashed while it served: in the audit, {_PROMISED[audit.sync]}"


async def compare(config: Config) -> int:
    """Log what the ledger has more than the audit; return in how many branches."""
    if config.ledger.engine != "sqlite" or config.audit.keep_bytes is not None:
        _log.info(
            "to compare the ledger with the audit, run `crewgate ledger reconcile`; the agent only "
            "does so itself if the ledger is a file of this machine and the audit keeps all lines"
        )
        return 0
    # With -P, Python does not import a file named trio.py from the present folder.
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
        _log.warning(
            "the agent could not compare the ledger with the audit; run `crewgate ledger reconcile`"
        )
        return 0
    more = [each.ledger_spent_micro - each.audit_spent_micro for each in found]
    more = [each for each in more if each > 0]
    if not more:
        _log.info("the audit accounts for all credit that the ledger counts as spent")
        return 0
    branches = "1 branch" if len(more) == 1 else f"{len(more)} branches"
    _log.warning(
        "by the ledger, %s spent %s credits for which the audit has no line; `crewgate ledger "
        "reconcile` lists them",
        branches,
        format_credits(sum(more)),
    )
    return len(more)


async def report_lost_records(agent: AgentState) -> None:
    """Compare, and record in the audit in how many branches it lacks lines."""
    count = await compare(agent.active_config.config)
    if count:
        now = when(agent.clock.wall_ns())
        agent.record([ServiceEvent(time=now, event="audit-lost", count=count)])
    await trio.to_thread.run_sync(mark_started, agent.active_config.config.state)


async def _kill(process: trio.Process) -> None:
    """End the process at once: it only reads, and Trio would wait longer than the agent can."""
    process.kill()
