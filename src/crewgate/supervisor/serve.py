"""The supervisor: starts the agent, then the others; restarts dead ones; drains on SIGTERM.

A blocking process with one thread. It decides no call, accepts no connection and holds no secret,
so that little can go wrong in the one process whose death ends all others.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from crewgate import limits
from crewgate.config import Config
from crewgate.core.health import ComponentHealth, degraded, failed, first_of, ok
from crewgate.errors import (
    ConfigurationError,
    CrewgateError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.metrics.memory import MetricsMemory
from crewgate.policy.serve_config_checks import as_written, following, validated
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.log_format import LogSettings
from crewgate.runtime.memory_protection import SWITCH, is_open, leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import READY, WAITING, ReadinessListener
from crewgate.runtime.service_manager import ServiceManager
from crewgate.runtime.socket_activation import activated_sockets
from crewgate.supervisor.child import (
    Child,
    DrainingChildren,
    begin,
    error_text,
    exit_text,
    python,
    socket_arguments,
)
from crewgate.supervisor.child_shutdown import END_SIGNALS, end_children
from crewgate.supervisor.free_port_wait import await_free
from crewgate.supervisor.optional_children import OptionalChildren
from crewgate.supervisor.orphans import reap_orphans
from crewgate.supervisor.service_reporter import ServiceReporter
from crewgate.supervisor.service_sockets import ServiceSockets
from crewgate.supervisor.signals import Signals
from crewgate.supervisor.workers import Begun, Workers
from crewgate.version import __version__

_log = logging.getLogger(__name__)


def serve(path: Path, log: LogSettings, *, bootstrap: bool = False) -> int:
    """Run until SIGTERM or SIGINT, and return the exit status: 2 if it cannot start.

    With `bootstrap`, the operator confirms that there are no other machines to learn from.
    """
    log.export()
    with ProcessLog("serve"):
        try:
            leave_no_cores()
            return Supervisor(path, bootstrap=bootstrap).run()
        except (CrewgateError, OSError) as error:
            _log.error("%s", error_text(error))
            return 2


class Supervisor:
    """The child processes of one configuration file; each runs as `-m MODULE -c FILE`."""

    def __init__(
        self,
        path: Path,
        *,
        agent: str = "crewgate.agent",
        worker: str = "crewgate.gateway",
        control: str = "crewgate.control",
        admin: str = "crewgate.admin",
        bootstrap: bool = False,
    ) -> None:
        """Validate the configuration; ConfigurationError."""
        self._bootstrap = ("--bootstrap",) if bootstrap else ()
        self._watch = FileWatch((path,))
        self._config = validated(path)
        self._agent_config = self._config  # the one that the serving agent started with
        if bootstrap and self._config.cluster is None:
            raise ConfigurationError(
                f"{path}: there is no [cluster] to bootstrap; leave --bootstrap out"
            )
        metrics = MetricsMemory.make()
        self._agent = Child("agent", python(agent, self._config.path), metrics)
        self._optional = OptionalChildren(self._config.path, control, admin, metrics)
        self._given = ServiceSockets(activated_sockets())
        self._workers = Workers(worker, metrics, self._given.by_address)
        if mistake := self._given.unserved(self._config):
            raise ConfigurationError(mistake)
        self._service = ServiceReporter(ServiceManager.from_environment(), self._config.state)
        self._reporter = HealthReportClient(self._config.state, "supervisor")
        self._last_restart = ok("restart")
        self._leaving = DrainingChildren()
        self._successors: list[Child] = []  # that start now

    def run(self) -> int:
        """Start all children, keep them running, end them; return the exit status."""
        with Signals() as signals:
            self._service.report("starting")
            _log.info("Crewgate %s starts, with %s", __version__, self._config.path)
            if is_open():
                _log.warning("%s=1: core files and debuggers can show keys; unset it", SWITCH)
            try:
                status = self._start_agent(signals)
                if status is not None:
                    return status
                if not self._workers:
                    self._await_ports(signals)
                self._keep(self._optional.control, time.monotonic())
                self._fit_workers()
                self._keep_running(signals)
                self._drain(signals)
            finally:
                self._kill()
        return 0

    def _start_agent(self, signals: Signals) -> int | None:
        """Start the agent; None once it is ready, an exit status if this process must end.

        It starts again while it ends with EX_TEMPFAIL: what it lacks may still come.
        """
        while True:
            status = self._try_agent(signals)
            if status != os.EX_TEMPFAIL:
                if status:
                    _log.error(
                        "the agent %s before it was ready; the log above says why",
                        exit_text(status),
                    )
                return status
            # No client should wait for hours.
            self._workers.kill()
            left = max(self._agent.due - time.monotonic(), limits.restart_seconds_min)
            self._service.report("the agent cannot start yet: the log says why")
            _log.info("the agent cannot start yet; it starts again in %.1f s", left)
            if END_SIGNALS & signals.wait(left):
                return 0

    def _try_agent(self, signals: Signals) -> int | None:
        """Start the agent once; return None when it is ready, else an exit status.

        The agent itself logs why it cannot start. --bootstrap is for this start alone: before a
        later one, the disk may be lost while other machines know revocations.

        The workers load meanwhile. The agent finds out if another `serve` holds a port.
        """
        self._agent_config = as_written(self._agent_config)
        with ReadinessListener() as readiness:
            begin(self._agent, readiness, *self._bootstrap)
            with suppress(ConfigurationError):
                await_free(self._config, 0.0, self._given.by_address)
                self._fit_workers()
            while not readiness.poll(READY):
                # A probe gets an answer while the agent waits for its ledger.
                self._keep(self._optional.admin, time.monotonic())
                if END_SIGNALS & signals.wait(1.0, (readiness.ours,)):
                    return 0
                status = self._agent.ended(time.monotonic())
                if status is not None:
                    return status if status > 0 else 1
        return None

    def _await_ports(self, signals: Signals) -> None:
        """If a port stays in use, end the agent in order and raise ConfigurationError.

        Call it after the agent holds the table: another `serve` of the same configuration is then
        reported as such, and not as a port in use.
        """
        try:
            await_free(self._config, limits.lock_wait_seconds, self._given.by_address)
        except ConfigurationError:
            end_children([self._agent], limits.agent_end_seconds, signals)
            raise

    def _keep_running(self, signals: Signals) -> None:
        while True:
            self._reporter.report(self._facts())
            self._service.check()
            received = signals.wait(self._pause())
            if END_SIGNALS & received:
                return
            if signal.SIGUSR2 in received:
                with self._service.reloading():
                    self._restart(signals)
            elif signal.SIGHUP in received:
                with self._service.reloading():
                    self._reload()
            elif self._watch.is_due():
                self._follow()
            self._restart_dead()

    def _facts(self) -> list[ComponentHealth]:
        """Return the health of each child."""
        now = time.monotonic()
        found = [each.health(now, refuses=each not in self._optional) for each in self._children()]
        return [*found, self._last_restart]

    def _pause(self) -> float:
        now = time.monotonic()
        dues = [0.1] if self._leaving or self._optional.is_ending else []
        dues.append(self._service.due_in)
        dues += [child.due - now for child in self._children() if not child.running]
        return min([1.0, *dues])

    def _is_wanted(self, child: Child) -> bool:
        return child not in self._optional or self._optional.is_wanted(child, self._config)

    def _children(self) -> list[Child]:
        """Return the children that should run, and optional ones that are ending."""
        return [self._agent, *self._optional.present(self._config), *self._workers]

    def _restart_dead(self) -> None:
        now = time.monotonic()
        self._leaving.reap(now)
        self._optional.kill_late(now)
        for child in self._children():
            self._keep(child, now)
        own = [*self._children(), *self._leaving, *self._successors]
        reap_orphans({child.pid for child in own})

    def _keep(self, child: Child, now: float) -> None:
        """Log the end of a child, unless it was asked to end; start it if it is wanted and due."""
        status = child.ended(now)
        is_wanted = self._is_wanted(child)
        # Connections should not wait for a worker that starts only after a delay.
        if status is not None and child.due > now:
            self._workers.close_sockets(child)
        if status is not None and is_wanted and (status or not child.is_asked_to_end):
            left = child.due - now
            _log.warning("%s %s; starts again in %.1f s", child.name, exit_text(status), left)
        if not child.running and child.due <= now and is_wanted:
            try:
                self._start(child, now)
            except OSError as error:
                # The kernel may have no process or no memory left for a moment.
                child.put_off(now)
                _log.warning("cannot start %s yet: %s", child.name, error_text(error))

    def _fit_workers(self) -> None:
        now = time.monotonic()
        for child in self._workers.fit(self._config, now):
            self._leaving.add(child, now + self._config.drain_seconds)

    def _start(self, child: Child, now: float) -> None:
        if child is self._agent:
            self._agent_config = as_written(self._agent_config)
        if child in self._workers:
            self._workers.start(child, self._config, now)
        else:
            is_control = child is self._optional.control
            sockets = self._given.of_control(self._config) if is_control else []
            child.start(now, *socket_arguments(sockets), keep=sockets)

    def _restart(self, signals: Signals) -> None:
        """Replace each process once its successor serves; keep it if the successor fails."""
        _log.info("restarting: agent, then workers, then the other processes")
        deadline = time.monotonic() + limits.restart_seconds_in_all
        self._last_restart = failed("restart", "it is under way", refuses=False, grace=60.0)
        if why := self._replace_all(signals, deadline):
            mend = "see the log, and restart again"
            self._last_restart = degraded("restart", first_of(why), mend, logged=True)
            _log.warning("the restart is incomplete: %s", why)
            return
        self._last_restart = ok("restart")
        for child in self._optional.present(self._config):
            self._optional.end(child, time.monotonic())
        _log.info("restarted")

    def _replace_all(self, signals: Signals, deadline: float) -> str:
        """Replace the agent, then the workers; return what was not replaced and why, or ""."""
        before = self._agent
        try:
            if not self._replace_agent(signals, deadline):
                who = "agent continues" if self._agent is before else "workers continue"
                return f"the old {who}, because the new agent did not become ready"
            done = self._replace_workers(signals, deadline)
        except (ConfigurationError, OSError) as error:
            who = "agent continues" if self._agent is before else "workers continue"
            return f"the old {who}: {error_text(error)}"
        return "" if done else "old workers continue, because not all new ones became ready"

    def _replace_agent(self, signals: Signals, deadline: float) -> bool:
        """Replace the agent by a successor; return whether the successor serves.

        Raises ConfigurationError if the file changed something that needs a new start.
        """
        before, successor = self._agent, self._agent.successor()
        with ReadinessListener() as readiness:
            begin(successor, readiness, "--successor")
            try:
                waits = self._await(signals, deadline, [(successor, readiness)], WAITING)
                # If the file is the reason why the successor ended, this names it.
                following(self._agent_config)
                if not waits:
                    return False
                self._agent = successor
            finally:
                if self._agent is before:
                    successor.discard()
            before.send(signal.SIGUSR2)
            self._leaving.add(before, time.monotonic() + limits.agent_end_seconds)
            return self._await(signals, deadline, [(successor, readiness)], READY)

    def _replace_workers(self, signals: Signals, deadline: float) -> bool:
        with ExitStack() as stack:
            successors = self._workers.begin_successors(self._config, stack)
            done = self._await(signals, deadline, successors.values(), READY)
            for old in self._workers.replace_by(successors):
                old.send(signal.SIGUSR2)
                self._leaving.add(old, time.monotonic() + 2 * self._config.drain_seconds)
            return done

    def _await(self, signals: Signals, until: float, begun: Iterable[Begun], state: bytes) -> bool:
        """Wait until all report `state`; False if one ends or takes too long, or we must end."""
        waiting, later = list(begun), set[int]()
        self._successors = [child for child, _ in waiting]
        try:
            while waiting:
                now = time.monotonic()
                if any(child.ended(now) is not None for child, _ in waiting) or now > until:
                    return False
                self._restart_dead()
                self._reporter.report(self._facts())
                self._service.check()
                received = signals.wait(0.1, [each.ours for _, each in waiting])
                later |= received - {signal.SIGCHLD}
                waiting = [(child, each) for child, each in waiting if not each.poll(state)]
                if END_SIGNALS & received or any(each.is_over for _, each in waiting):
                    return False
        finally:
            self._successors = []
            # The main loop handles these signals afterwards.
            signals.again(later)
        return True

    def _apply(self, config: Config) -> None:
        """Use a changed file."""
        self._optional.follow(self._config, config, time.monotonic())
        self._config = config
        if mistake := self._given.unserved(config):
            _log.warning("%s", mistake)

    def _reload(self) -> None:
        """Handle SIGHUP: load the file again, if it is valid, and have the agent load it."""
        try:
            self._apply(following(self._agent_config))
            with AdminClient(self._config.state) as agent:
                agent.reload()
        except ConfigurationError as error:
            _log.warning("keeping the active configuration: %s", error)
        except ServiceRefusedError as error:
            _log.warning("the agent is keeping the active configuration: %s", error)
        except ServiceConnectionError as error:
            _log.warning("%s; the agent reads the configuration when it starts again", error)
        else:
            self._fit_workers()

    def _follow(self) -> None:
        """Handle a changed file: fit the number of workers; the agent does the rest."""
        try:
            self._apply(following(self._agent_config))
        except ConfigurationError:
            # The agent reports the error.
            self._watch.retry_later()
        else:
            self._fit_workers()

    def _drain(self, signals: Signals) -> None:
        """End the workers, which still need the agent for open calls; then end the agent.

        Until then, the admin process answers `not ready`. Those that read the audit end last.
        """
        seconds = self._config.drain_seconds + 2 * limits.agent_end_seconds
        self._service.stopping(seconds + limits.service_stop_seconds)
        # New connections are refused at once, or wait in a socket of the service manager.
        self._workers.close_all_sockets()
        self._reporter.report([failed("drain", "`crewgate serve` is ending", grace=60.0)])
        _log.info("draining: workers get %g s to end", self._config.drain_seconds)
        first = [*self._workers, *self._leaving, self._optional.control, self._optional.ui]
        end_children(first, self._config.drain_seconds, signals)
        end_children([self._agent, self._optional.admin], limits.agent_end_seconds, signals)
        last = [self._optional.export, self._optional.alerts]
        end_children(last, limits.agent_end_seconds, signals)
        _log.info("ended")

    def _kill(self) -> None:
        for child in [*self._children(), *self._leaving]:
            child.send(signal.SIGKILL)
            child.wait()
