"""Looks at the audit, the machine and its branches, and puts the alerts into the outbox.

A look that cannot be stored is stored later, before the next look of the same kind. The records of
the audit wait on the disk meanwhile. What the agent says is its state, so a watch that could not
ask for a while sees what has changed in all. Only a trouble that began and ended in between is not
told.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from crewgate import limits
from crewgate.alerts.agent_queries import AgentQueries
from crewgate.alerts.alert import Findings, linked
from crewgate.alerts.audit_alerts import alerts_of, may_be_alert
from crewgate.alerts.budget_watch import BudgetWatch, allowances_of
from crewgate.alerts.channel import wants
from crewgate.alerts.health_watch import HealthWatch
from crewgate.alerts.local_machine import LocalMachine
from crewgate.alerts.machine_assignment import MachineAssignment
from crewgate.alerts.member_watch import MemberWatch
from crewgate.alerts.outbox import AlertOutbox
from crewgate.alerts.restart_watch import RestartWatch
from crewgate.alerts.sender import AlertSender
from crewgate.audit import folder as audit_folder
from crewgate.audit.audit_tail import AuditTail, Batch
from crewgate.audit.file_progress import AuditPosition, FilePosition
from crewgate.config import Config
from crewgate.core.alert_kinds import AlertKind
from crewgate.core.health import ComponentHealth, degraded, ok
from crewgate.errors import AlertOutboxError, ServiceConnectionError
from crewgate.metrics.restart_counts import RestartCounts

T = TypeVar("T")

_log = logging.getLogger(__name__)
_COMPONENT = "alerts: outbox"
_AUDIT, _HEALTH, _MEMBERS, _BUDGETS, _RESTARTS = "audit", "health", "members", "budgets", "restarts"
_SAVE_SECONDS = 10.0  # between two notes of a position after which there was no alert
_TIDY_SECONDS = 600.0
_AGAIN_SECONDS = 1.0
_BUDGET_KINDS = {
    AlertKind.RUN_CREDITS,
    AlertKind.BRANCH_CREDITS,
    AlertKind.CREW_HOUR,
    AlertKind.CREW_DAY,
}


class Observer:
    """The looks of one machine. `restarts` is None if no `crewgate serve` counts them.

    `wall` is the clock, in seconds since 1970; `now` is that of looks at the audit, which a thread
    calls.
    """

    def __init__(
        self,
        config: Config,
        local: LocalMachine,
        outbox: AlertOutbox,
        senders: Sequence[AlertSender],
        assignment: MachineAssignment,
        restarts: RestartCounts | None = None,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load what the watches remember. Raises AlertOutboxError."""
        self._config, self._local, self._outbox = config, local, outbox
        self._senders, self._assignment, self._wall = senders, assignment, wall
        self._receivers = config.alerts
        self._unstored = ""
        position = outbox.position()
        self._begins, is_first = 0.0, position is None
        if position is None:
            self._begins = wall() - limits.alert_start_seconds
            position = _recent(config.audit.folder, self._begins)
        self._tail = AuditTail(config.audit.folder, position, now, may_be_alert)
        self._health = HealthWatch(local, outbox.notes(_HEALTH))
        self._members = MemberWatch(local, outbox.notes(_MEMBERS))
        serve = "" if restarts is None else restarts.serve
        self._restarts = RestartWatch(local, serve, outbox.notes(_RESTARTS))
        self._counts = restarts
        self._budgets: BudgetWatch | None = None
        if any(not each.kinds or _BUDGET_KINDS & {*each.kinds} for each in self._receivers):
            thresholds = [percent for each in self._receivers for percent in each.thresholds]
            notes = outbox.notes(_BUDGETS)
            allowances = allowances_of(config)
            self._budgets = BudgetWatch(local, thresholds, allowances, notes, is_first=is_first)

    def health(self) -> ComponentHealth:
        """Return whether alerts can be stored."""
        if not self._unstored:
            return ok(_COMPONENT)
        why = f"{self._unstored}; no receiver gets new alerts until then"
        remedy = f"make room in {self._local.state / 'alerts'}"
        return degraded(_COMPONENT, why, remedy, logged=True)

    async def run(self, ending: trio.Event) -> None:
        """Look until `ending` is set and the audit is read; or until cancelled."""
        # From now on, another process is not the first of all.
        await self._store(_AUDIT, Findings.none(), self._tail.position)
        async with trio.open_nursery() as looks:
            looks.start_soon(self._watch_machine)
            if self._budgets is not None:
                looks.start_soon(self._watch_budgets, self._budgets)
            looks.start_soon(self._tidy)
            await self._watch_audit(ending)
            looks.cancel_scope.cancel()

    async def _watch_audit(self, ending: trio.Event) -> None:
        saved_at, is_last = -math.inf, False
        while True:
            batch = Batch()
            await trio.to_thread.run_sync(self._tail.read, batch)
            self._note_losses()
            if not batch.ends and is_last:
                return
            if batch.ends:
                begins = self._begins * 1e9
                entries = (entry for entry in batch.entries if entry.time_ns >= begins)
                found = Findings([*alerts_of(entries, self._local)], {})
                self._tail.commit(batch)
                if found or trio.current_time() - saved_at >= _SAVE_SECONDS:
                    await self._store(_AUDIT, found, self._tail.position)
                    saved_at = trio.current_time()
            elif ending.is_set():
                is_last = True
                self._tail.look_at_once()
            else:
                with trio.move_on_after(limits.audit_look_seconds):
                    await ending.wait()

    def _note_losses(self) -> None:
        lost, files = self._tail.take_losses()
        if files:
            _log.warning(
                "%d audit files were deleted before the alerts process had read at least %d bytes "
                "of them; raise keep_bytes of [audit]",
                files,
                lost,
            )

    async def _watch_machine(self) -> None:
        agent = AgentQueries(self._local.state)
        members_at = -math.inf
        try:
            while True:
                now, wall = trio.current_time(), self._wall()
                seen = await self._ask(agent.health, agent)
                if seen is None:
                    found = self._health.no_answer("it does not answer", wall, now)
                else:
                    found = self._health.update(seen.conditions, wall, now, is_whole=seen.is_whole)
                await self._store(_HEALTH, found)
                if self._config.cluster and now - members_at >= limits.alert_members_seconds:
                    members_at = now
                    rows = await self._ask(agent.members, agent)
                    if rows is not None:
                        self._assignment.update(rows)
                        await self._store(_MEMBERS, self._members.update(rows, wall))
                if self._counts is not None:
                    restarts = self._restarts.update(self._counts.read(), wall)
                    await self._store(_RESTARTS, restarts)
                await trio.sleep(limits.alert_status_seconds)
        finally:
            agent.close()

    async def _watch_budgets(self, watch: BudgetWatch) -> None:
        agent = AgentQueries(self._local.state)
        try:
            while True:
                began = trio.current_time()
                rows = await self._ask(lambda: agent.spending(watch.percent_min), agent)
                if rows is not None:
                    await self._store(_BUDGETS, watch.update(rows, self._wall()))
                took = trio.current_time() - began
                await trio.sleep(max(limits.alert_tree_seconds, took / limits.alert_tree_share))
        finally:
            agent.close()

    async def _tidy(self) -> None:
        names = [each.name for each in self._receivers]
        while True:
            try:
                waited = await trio.to_thread.run_sync(self._outbox.tidy, names, self._wall())
            except AlertOutboxError as error:
                _log.warning("%s", error, extra={"subject": "alerts"})
            else:
                if waited:
                    _log.warning(
                        "dropped %d alerts that waited for receivers that [alert] no longer names",
                        waited,
                    )
            await trio.sleep(_TIDY_SECONDS)

    async def _ask(self, look: Callable[[], T], agent: AgentQueries) -> T | None:
        """Return what the agent says; None if it does not answer."""
        try:
            return await trio.to_thread.run_sync(look)
        except ServiceConnectionError:
            agent.close()
            return None

    async def _store(
        self, watch: str, found: Findings, position: AuditPosition | None = None
    ) -> None:
        """Store findings, however long that takes."""
        if not found and position is None:
            return
        alerts = [linked(alert, self._local.page) for alert in found.alerts]
        found = Findings(alerts, found.notes)
        wanted = {
            each.name: [alert for alert in found.alerts if wants(each, alert)]
            for each in self._receivers
        }
        assigned = self._assignment.assigned_elsewhere(self._receivers, found.alerts)
        while True:
            try:
                new = await trio.to_thread.run_sync(
                    self._outbox.add, watch, found, wanted, self._wall(), position, assigned
                )
            except AlertOutboxError as error:
                if not self._unstored:
                    _log.warning("%s", error, extra={"subject": "alerts"})
                self._unstored = str(error)
                await trio.sleep(_AGAIN_SECONDS)
            else:
                break
        self._unstored = ""
        if new:
            for sender in self._senders:
                sender.wake()


def _recent(folder: Path, begins: float) -> AuditPosition:
    """Return the position of a first process: after files that are older than `begins`."""
    position = AuditPosition()
    for path in audit_folder.files(folder):
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_mtime < begins:
            position.files[path.name] = FilePosition(found.st_size, found.st_size)
    return position
