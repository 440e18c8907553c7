"""The supervisor: agent first, then the workers; restarts what dies; drains and ends on SIGTERM.

A plain blocking process. It judges no call, accepts no connection and holds no secret, so that
little can go wrong in the one process whose death ends all others.
"""

import math
import os
import signal
import sys
import time
from pathlib import Path

from crewgate import limits
from crewgate.config import Config, Control, Listener, descriptors, load
from crewgate.core.health import Fact
from crewgate.errors import ConfigurationError, LinkError, RefusedError
from crewgate.link.owner import Owner
from crewgate.link.reporter import Reporter
from crewgate.runtime.descriptors import most
from crewgate.runtime.secrecy import SWITCH, is_open, leave_no_cores
from crewgate.supervisor.child import Child, ended
from crewgate.supervisor.ports import await_free
from crewgate.supervisor.signals import Signals
from crewgate.verifier.policy import load_policy
from crewgate.verifier.watch import Watch

_END = {signal.SIGTERM, signal.SIGINT}


def serve(path: Path, *, bootstrap: bool = False) -> int:
    """Run until SIGTERM or SIGINT; the exit status. ConfigurationError if `path` is no good.

    `bootstrap` is a person's word that there is nothing to learn from other machines.
    """
    leave_no_cores()
    if is_open():
        _say(f"{SWITCH}=1: cores and tracers of these processes hold keys; leave it out to serve")
    return Supervisor(path, bootstrap=bootstrap).run()


def _say(text: str) -> None:
    sys.stderr.write(f"crewgate serve: {text}\n")
    sys.stderr.flush()


def _python(module: str, path: Path, *more: str) -> list[str]:
    # -P: a file named trio.py in the present folder is nobody's module.
    return [sys.executable, "-P", "-m", module, "-c", str(path), *more]


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
        self._watch = Watch((path,))
        self._look_again = math.inf  # when content that was bad is due for another look
        self._config = _validated(path)
        if bootstrap and self._config.cluster is None:
            raise ConfigurationError(
                f"{path}: there is no [cluster] to be the first machine of; leave --bootstrap out"
            )
        self._agent = Child("agent", _python(agent, self._config.path))
        self._control = Child("control", _python(control, self._config.path))
        self._worker = worker
        self._workers: dict[int, Child] = {}
        self._leaving: list[tuple[Child, float]] = []  # and when they are killed
        self._control_ends = math.inf  # when one that was told to end is killed

    def __repr__(self) -> str:
        return f"<Supervisor {self._agent!r} {list(self._workers.values())!r}>"

    def run(self) -> int:
        """Start everything, keep it running, end everything; the exit status."""
        with Signals() as signals:
            try:
                status = self._start_agent(signals)
                if status is not None:
                    return status
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

        As long as what it lacks may come by itself (EX_TEMPFAIL: a server that is away, a full
        disk), it is started again.
        """
        while True:
            status = self._try_agent(signals)
            if status != os.EX_TEMPFAIL:
                if status:
                    _say(f"the agent {_told(status)} before it was ready: it says above why")
                return status
            left = max(self._agent.due - time.monotonic(), limits.restart_seconds_min)
            _say(f"waits for that; the agent starts again in {left:.1f} s")
            if _END & signals.wait(left):
                return 0

    def _try_agent(self, signals: Signals) -> int | None:
        """Start it once: None when it is ready, else an exit status.

        The agent says itself why it cannot start. That there is nothing to learn from others is
        true of this start alone: by the next one they may know of revocations that a disk which was
        lost meanwhile does not, and what is on the disk says the rest.
        """
        ours, theirs = os.pipe()
        try:
            try:
                more = ("--ready", str(theirs), *self._bootstrap)
                self._agent.start(time.monotonic(), *more, keep=(theirs,))
            finally:
                os.close(theirs)
            while True:
                if _END & signals.wait(1.0, (ours,)):
                    return 0
                status = self._agent.ended(time.monotonic())
                if status is not None:
                    return status if status > 0 else 1
                if _has_word(ours):
                    return None
        finally:
            os.close(ours)

    def _await_ports(self, signals: Signals) -> None:
        """ConfigurationError if a port is taken; then the agent has ended in order.

        After the agent has the table: a `serve` of the same configuration is told of first.
        """
        listeners: tuple[Listener | Control, ...] = ()
        if self._config.workers:
            listeners = self._config.listeners
        if self._config.control is not None:
            listeners = (*listeners, self._config.control)
        try:
            await_free(listeners, str(self._config.path), limits.lock_wait_seconds)
        except ConfigurationError:
            self._end([self._agent], limits.agent_end_seconds, signals)
            raise

    def _keep_running(self, signals: Signals) -> None:
        """Until told to end."""
        reporter = Reporter(self._config.state, "supervisor")
        while True:
            reporter.report(self._facts())
            heard = signals.wait(self._pause())
            if _END & heard:
                return
            if signal.SIGHUP in heard:
                self._reload()
            elif self._watch.changed() or time.monotonic() >= self._look_again:
                self._follow()
            self._revive()

    def _facts(self) -> list[Fact]:
        """The children that keep ending. The control process answers no calls."""
        now = time.monotonic()
        return [child.health(now, refuses=child is not self._control) for child in self._children()]

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
        self._leaving = [each for each in self._leaving if each[0].ended(now) is None]
        for child, deadline in [*self._leaving, (self._control, self._control_ends)]:
            if now > deadline:
                child.send(signal.SIGKILL)
        for child in self._children():
            status = child.ended(now)
            if status is not None and child is self._control:
                self._control_ends = math.inf
            if status is not None and self._is_wanted(child):
                _say(f"{child.name} {_told(status)}; starts again in {child.due - now:.1f} s")
            if not child.running and child.due <= now and self._is_wanted(child):
                child.start(now)

    def _is_wanted(self, child: Child) -> bool:
        """Whether it is to run; a control process that lost its [ca] only ends."""
        return child is not self._control or self._has_control()

    def _fit_workers(self) -> None:
        """As many workers as the configuration asks for; those that are too many drain."""
        now = time.monotonic()
        for index in range(self._config.workers):
            if index not in self._workers:
                more = ("--worker", str(index))
                arguments = _python(self._worker, self._config.path, *more)
                self._workers[index] = Child(f"worker {index}", arguments)
                self._workers[index].start(now)
        for index in [each for each in self._workers if each >= self._config.workers]:
            child = self._workers.pop(index)
            child.send(signal.SIGTERM)
            self._leaving.append((child, now + self._config.drain_seconds))

    def _adopt(self, config: Config) -> None:
        """The control process takes a changed file up by itself; without a [ca] it ends."""
        if config.ca is None and self._config.ca is not None and self._control.running:
            self._control.send(signal.SIGTERM)
            self._control_ends = time.monotonic() + limits.control_end_seconds
        self._config = config

    def _reload(self) -> None:
        """SIGHUP: everybody loads the file again, if it is good."""
        try:
            self._adopt(_validated(self._config.path))
            with Owner(self._config.state) as owner:
                owner.reload()
        except ConfigurationError as error:
            _say(f"not reloaded, the configuration in force stays: {error}")
        except RefusedError as error:
            _say(f"the agent did not reload: {error}")
        except LinkError as error:
            _say(f"{error}; the agent reads the configuration when it is back")
        else:
            self._fit_workers()

    def _follow(self) -> None:
        """The file changed: the agent has it loaded by everybody; the number of workers is ours."""
        try:
            self._adopt(_validated(self._config.path))
        except ConfigurationError:  # the agent says it, and a missing file may be there soon
            self._look_again = time.monotonic() + limits.reload_refused_seconds
            return
        self._look_again = math.inf
        self._fit_workers()

    def _drain(self, signals: Signals) -> None:
        """Workers end their calls first, while the agent still serves them; then the agent."""
        _say(f"draining for at most {self._config.drain_seconds:g} s")
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
                _say(f"{child.name} did not end in time: killed")
                child.send(signal.SIGKILL)
                child.wait()

    def _kill(self) -> None:
        """Whatever still runs when we leave."""
        leaving = [child for child, _ in self._leaving]
        for child in [*self._children(), self._control, *leaving]:
            child.send(signal.SIGKILL)
            child.wait()


def _validated(path: Path) -> Config:
    config = load(path)
    load_policy(config, 0)
    lack = "; ".join(descriptors.lacking(config, most()))
    if lack:
        raise ConfigurationError(f"{path}: {lack}")
    return config


def _has_word(descriptor: int) -> bool:
    """The agent wrote that it is ready; False at the end of the pipe or while it is silent."""
    os.set_blocking(descriptor, False)
    try:
        return bool(os.read(descriptor, 64))
    except BlockingIOError:
        return False


def _told(status: int) -> str:
    if status < 0:
        return f"was ended by {ended(status)}"
    return f"ended with {ended(status)}" if status else "ended in order"
