"""The supervisor: agent first, then the workers; restarts what dies; drains and ends on SIGTERM.

A plain blocking process. It judges no call, accepts no connection and holds no secret, so that
little can go wrong in the one process whose death ends all others.
"""

import logging
import math
import os
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from crewgate import limits
from crewgate.config import Config
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.errors import ConfigurationError, LinkError, RefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.health_report_client import HealthReportClient
from crewgate.policy.startup_checks import as_written, following, validated
from crewgate.runtime.file_watch import FileWatch
from crewgate.runtime.listening import KeptSockets, ListenAddress
from crewgate.runtime.memory_protection import SWITCH, is_open, leave_no_cores
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import READY, WAITING, ReadinessListener
from crewgate.supervisor.child import Child, DrainingChildren, begin, exit_text, python, sockets_of
from crewgate.supervisor.port_wait import await_free, listened
from crewgate.supervisor.signals import Signals

_log = logging.getLogger(__name__)
Begun = tuple[Child, ReadinessListener]
_END = {signal.SIGTERM, signal.SIGINT}


def serve(path: Path, *, bootstrap: bool = False) -> int:
    """Run until SIGTERM or SIGINT; the exit status. ConfigurationError if `path` is no good.

    `bootstrap` is a person's word that there is nothing to learn from other machines.
    """
    leave_no_cores()
    return Supervisor(path, bootstrap=bootstrap).run()


class Supervisor:
    """The children of one configuration file: modules that are run as `-m MODULE -c FILE`."""

    def __init__(
        self,
        path: Path,
        *,
        agent: str = "crewgate.agent",
        worker: str = "crewgate.gateway",
        control: str = "crewgate.control",
        bootstrap: bool = False,
    ) -> None:
        """Validate everything first; ConfigurationError."""
        self._bootstrap = ("--bootstrap",) if bootstrap else ()
        self._watch = FileWatch((path,))
        self._recheck = math.inf  # when content that was bad is due for another look
        self._config = validated(path)
        self._standing = self._config  # as the agent that serves was started with it
        if bootstrap and self._config.cluster is None:
            raise ConfigurationError(
                f"{path}: there is no [cluster] to be the first machine of; leave --bootstrap out"
            )
        self._agent = Child("agent", python(agent, self._config.path))
        self._control = Child("control", python(control, self._config.path))
        self._worker = worker
        self._workers: dict[int, Child] = {}
        self._sockets = KeptSockets()
        self._reporter = HealthReportClient(self._config.state, "supervisor")
        self._last_restart = ok("restart")
        self._leaving = DrainingChildren()
        self._control_ends = math.inf  # when one that was told to end is killed

    def run(self) -> int:
        """Start everything, keep it running, end everything; the exit status."""
        with ProcessLog("serve"), Signals() as signals:
            if is_open():
                what = "cores and tracers of these processes hold keys; leave it out to serve"
                _log.warning("%s=1: %s", SWITCH, what)
            try:
                status = self._start_agent(signals)
                if status is not None:
                    return status
                if not self._workers:
                    self._await_ports(signals)
                if self._has_control():
                    self._control.start(time.monotonic())
                self._fit_workers()
                self._keep_running(signals)
                self._drain(signals)
            finally:
                self._kill()
        return 0

    def _start_agent(self, signals: Signals) -> int | None:
        """Wait until its doors are open; an exit status if it cannot start, or we were told to end.

        As long as what it lacks may come (EX_TEMPFAIL: a server that is away, tables that are not
        made, a full disk), it is started again.
        """
        while True:
            status = self._try_agent(signals)
            if status != os.EX_TEMPFAIL:
                if status:
                    _log.warning(
                        "the agent %s before it was ready: it says above why", exit_text(status)
                    )
                return status
            self._let_go_of_clients()
            left = max(self._agent.due - time.monotonic(), limits.restart_seconds_min)
            _log.info("waits for that; the agent starts again in %.1f s", left)
            if _END & signals.wait(left):
                return 0

    def _let_go_of_clients(self) -> None:
        """Close the sockets: no client waits in them for what may take hours."""
        for child in self._workers.values():
            child.send(signal.SIGKILL)
            child.wait()
        self._workers.clear()
        self._sockets.close()

    def _try_agent(self, signals: Signals) -> int | None:
        """Start it once: None when it is ready, else an exit status.

        The agent says itself why it cannot start. --bootstrap is for this start alone: by the next
        one, others may know of revocations that a disk which was lost meanwhile does not have.

        The workers load meanwhile. If a port is taken, that may be by a `serve` of the same
        configuration, and the agent finds that out.
        """
        self._standing = as_written(self._standing)
        with ReadinessListener() as word:
            begin(self._agent, word, *self._bootstrap)
            with suppress(ConfigurationError):
                await_free(listened(self._config), str(self._config.path), 0.0)
                self._fit_workers()
            while not word.poll(READY):
                if _END & signals.wait(1.0, (word.ours,)):
                    return 0
                status = self._agent.ended(time.monotonic())
                if status is not None:
                    return status if status > 0 else 1
        return None

    def _await_ports(self, signals: Signals) -> None:
        """ConfigurationError if a port is taken; then the agent has ended in order.

        After the agent has the table: a `serve` of the same configuration is told of first.
        """
        try:
            await_free(listened(self._config), str(self._config.path), limits.lock_wait_seconds)
        except ConfigurationError:
            self._end([self._agent], limits.agent_end_seconds, signals)
            raise

    def _keep_running(self, signals: Signals) -> None:
        """Until told to end."""
        while True:
            self._reporter.report(self._facts())
            heard = signals.wait(self._pause())
            if _END & heard:
                return
            if signal.SIGUSR2 in heard:
                self._restart(signals)
            elif signal.SIGHUP in heard:
                self._reload()
            elif self._watch.changed() or time.monotonic() >= self._recheck:
                self._follow()
            self._revive()

    def _facts(self) -> list[ComponentHealth]:
        """The children that keep ending. The control process answers no calls."""
        now = time.monotonic()
        children = self._children()
        found = [child.health(now, refuses=child is not self._control) for child in children]
        return [*found, self._last_restart]

    def _pause(self) -> float:
        """Seconds until some child is due, at most a second."""
        now = time.monotonic()
        dues = [0.1] if self._leaving or self._control_ends < math.inf else []
        dues += [child.due - now for child in self._children() if not child.running]
        return min([1.0, *dues])

    def _has_control(self) -> bool:
        return self._config.ca is not None

    def _children(self) -> list[Child]:
        """Those that are to run."""
        control = [self._control] if self._has_control() or self._control.running else []
        return [self._agent, *control, *self._workers.values()]

    def _revive(self) -> None:
        now = time.monotonic()
        self._leaving.reap(now)
        if now > self._control_ends:
            self._control.send(signal.SIGKILL)
        for child in self._children():
            status = child.ended(now)
            if status is not None and child is self._control:
                self._control_ends = math.inf
            if status is not None and child.due > now:  # no connections wait for it that long
                for index in [each for each in self._workers if self._workers[each] is child]:
                    self._sockets.drop(index)
            if status is not None and self._is_wanted(child):
                left = child.due - now
                _log.warning("%s %s; starts again in %.1f s", child.name, exit_text(status), left)
            if not child.running and child.due <= now and self._is_wanted(child):
                self._start(child, now)

    def _is_wanted(self, child: Child) -> bool:
        """Whether it is to run; a control process that lost its [ca] only ends."""
        return child is not self._control or self._has_control()

    def _fit_workers(self) -> None:
        """As many workers as the configuration asks for; those that are too many drain."""
        now = time.monotonic()
        for index in range(self._config.workers):
            if index not in self._workers:
                self._workers[index] = self._new_worker(index)
                self._start(self._workers[index], now)
            self._sockets.keep(index, self._addresses())
        for index in [each for each in self._workers if each >= self._config.workers]:
            child = self._workers.pop(index)
            self._sockets.drop(index)
            child.send(signal.SIGTERM)
            self._leaving.add(child, now + self._config.drain_seconds)

    def _new_worker(self, index: int) -> Child:
        path, more = self._config.path, ("--worker", str(index))
        return Child(f"worker {index}", python(self._worker, path, *more))

    def _addresses(self) -> list[ListenAddress]:
        return [(each.address, each.port) for each in self._config.listeners]

    def _start(self, child: Child, now: float) -> None:
        """A worker gets the sockets that are kept for it."""
        sockets: list[int] = []
        if child is self._agent:
            self._standing = as_written(self._standing)
        for index, worker in self._workers.items():
            if worker is child:
                sockets = self._sockets.fit(index, self._addresses())
        child.start(now, *sockets_of(sockets), keep=sockets)

    def _restart(self, signals: Signals) -> None:
        """Replace all processes, each once its successor serves; where that fails they stay."""
        _log.info("restarting: agent, then workers, then the control process")
        deadline = time.monotonic() + limits.restart_seconds_in_all
        self._last_restart = failed("restart", "it is under way", refuses=False, grace=60.0)
        why = "it is not complete: what could not be replaced goes on as it was"
        try:
            agent = self._replace_agent(signals, deadline)
        except ConfigurationError as error:
            why, agent = f"{why}. {error}"[: limits.health_text_chars_max], False
        if not agent or not self._replace_workers(signals, deadline):
            self._last_restart = degraded("restart", why, "see the log, and restart again")
            _log.warning("the restart: %s", why)
            return
        self._last_restart = ok("restart")
        if self._control.running:
            self._control.send(signal.SIGTERM)
            self._control_ends = time.monotonic() + limits.control_end_seconds
        _log.info("restarted")

    def _replace_agent(self, signals: Signals, deadline: float) -> bool:
        """ConfigurationError if the file has changed what no successor can take up."""
        before, successor = self._agent, self._agent.successor()
        with ReadinessListener() as word:
            begin(successor, word, "--successor")
            try:
                waits = self._await(signals, deadline, [(successor, word)], WAITING)
                following(self._standing)  # names what differs also where the successor has ended
                if not waits:
                    return False
                self._agent = successor
            finally:
                if self._agent is before:
                    self._end([successor], 0.0, signals)
            before.send(signal.SIGUSR2)
            self._leaving.add(before, time.monotonic() + limits.agent_end_seconds)
            return self._await(signals, deadline, [(successor, word)], READY)

    def _replace_workers(self, signals: Signals, deadline: float) -> bool:
        with ExitStack() as stack:
            begun: dict[int, tuple[Child, ReadinessListener]] = {}
            before = {index: self._sockets.addresses(index) for index in self._workers}
            for index in self._workers:
                word, child = stack.enter_context(ReadinessListener()), self._new_worker(index)
                sockets = self._sockets.fit(index, self._addresses())
                begin(child, word, *sockets_of(sockets), sockets=sockets)
                begun[index] = child, word
            done = self._await(signals, deadline, begun.values(), READY)
            for index, (child, word) in begun.items():
                if word.poll(READY):
                    old, self._workers[index] = self._workers[index], child
                    old.send(signal.SIGUSR2)
                    self._leaving.add(old, time.monotonic() + 2 * self._config.drain_seconds)
                else:  # the old process goes on, and accepts from its own sockets alone
                    self._end([child], 0.0, signals)
                    self._sockets.keep(index, before[index])
            return done

    def _await(self, signals: Signals, until: float, begun: Iterable[Begun], said: bytes) -> bool:
        """Until all have said it; False if one ends, takes too long, or we are told to end."""
        waiting, later = list(begun), set[int]()
        try:
            while waiting:
                now = time.monotonic()
                if any(child.ended(now) is not None for child, _ in waiting) or now > until:
                    return False
                self._revive()
                self._reporter.report(self._facts())
                heard = signals.wait(0.1, [word.ours for _, word in waiting])
                later |= heard - {signal.SIGCHLD}
                waiting = [(child, word) for child, word in waiting if not word.poll(said)]
                if _END & heard or any(word.is_over for _, word in waiting):
                    return False
        finally:
            signals.again(later)  # of what came meanwhile the main loop hears afterwards
        return True

    def _adopt(self, config: Config) -> None:
        """The control process takes a changed file up by itself; without a [ca] it ends."""
        if config.ca is None and self._config.ca is not None and self._control.running:
            self._control.send(signal.SIGTERM)
            self._control_ends = time.monotonic() + limits.control_end_seconds
        self._config = config

    def _reload(self) -> None:
        """SIGHUP: everybody loads the file again, if it is good."""
        try:
            self._adopt(following(self._standing))
            with AdminClient(self._config.state) as owner:
                owner.reload()
        except ConfigurationError as error:
            _log.warning("not reloaded, the configuration in force stays: %s", error)
        except RefusedError as error:
            _log.warning("the agent did not reload: %s", error)
        except LinkError as error:
            _log.warning("%s; the agent reads the configuration when it is back", error)
        else:
            self._fit_workers()

    def _follow(self) -> None:
        """The file changed: the agent has it loaded by everybody; the number of workers is ours."""
        try:
            self._adopt(following(self._standing))
        except ConfigurationError:  # the agent says it, and a missing file may be there soon
            self._recheck = time.monotonic() + limits.reload_refused_seconds
            return
        self._recheck = math.inf
        self._fit_workers()

    def _drain(self, signals: Signals) -> None:
        """Workers end their calls first, while the agent still serves them; then the agent."""
        self._sockets.close()  # so that what workers listen to no more is refused at once
        _log.info("draining for at most %g s", self._config.drain_seconds)
        workers = [*self._workers.values(), *(child for child, _ in self._leaving)]
        self._end([*workers, self._control], self._config.drain_seconds, signals)
        self._end([self._agent], limits.agent_end_seconds, signals)

    def _end(self, children: list[Child], seconds: float, signals: Signals) -> None:
        """SIGTERM, at most `seconds` of patience, then SIGKILL. Told twice, it ends at once."""
        for child in children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.running for child in children):
            now = time.monotonic()
            for child in children:
                child.ended(now)
            left = deadline - now
            if left <= 0:
                break
            if any(child.running for child in children) and _END & signals.wait(min(left, 1.0)):
                break
        for child in children:
            if child.running:
                _log.warning("%s did not end in time: killed", child.name)
                child.send(signal.SIGKILL)
                child.wait()

    def _kill(self) -> None:
        """Whatever still runs when we leave."""
        leaving = [child for child, _ in self._leaving]
        for child in [*self._children(), self._control, *leaving]:
            child.send(signal.SIGKILL)
            child.wait()
