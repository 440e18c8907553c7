"""The worker processes of one machine, and the listening sockets that outlive each of them.

It starts as many workers as the configuration says, and gives each its sockets. The supervisor
decides when a worker starts again, and how long a worker may take to end.
"""

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress

from crewgate.config import Config
from crewgate.metrics.memory import MetricsMemory
from crewgate.runtime.listening import KeptSockets, ListenAddress
from crewgate.runtime.readiness import READY, ReadinessListener
from crewgate.supervisor.child import Child, begin, python, socket_arguments

Begun = tuple[Child, ReadinessListener]


class Workers:
    """The workers by index; each runs as `-m MODULE -c FILE --worker INDEX`."""

    def __init__(
        self,
        module: str,
        metrics: MetricsMemory | None = None,
        shared: Mapping[ListenAddress, socket.socket] | None = None,
    ) -> None:
        """`shared` are the sockets of a service manager, by address."""
        self._module, self._metrics = module, metrics
        self._sockets = KeptSockets(shared)
        self.children: dict[int, Child] = {}
        # Where the workers accept whose successors are starting, by index.
        self._before: dict[int, set[ListenAddress]] = {}

    def __iter__(self) -> Iterator[Child]:
        return iter(self.children.values())

    def __len__(self) -> int:
        return len(self.children)

    def fit(self, config: Config, now: float) -> list[Child]:
        """Start the workers that `config` needs; return those that it asked to end."""
        for index in range(config.workers):
            if index not in self.children:
                self.children[index] = self.new(index, config)
                # The supervisor tries again to start a child that does not run.
                with suppress(OSError):
                    self.start(self.children[index], config, now)
            self._sockets.keep(index, _addresses(config))
        surplus = [index for index in self.children if index >= config.workers]
        for index in surplus:
            self._sockets.drop(index)
            self.children[index].send(signal.SIGTERM)
        return [self.children.pop(index) for index in surplus]

    def new(self, index: int, config: Config) -> Child:
        """Return the worker `index`, not started yet."""
        more = "--worker", str(index)
        return Child(f"worker {index}", python(self._module, config.path, *more), self._metrics)

    def start(self, child: Child, config: Config, now: float) -> None:
        """Start a worker with the sockets that are kept for it; OSError."""
        sockets = self._sockets.fit(self._index(child), _addresses(config))
        child.start(now, *socket_arguments(sockets), keep=sockets)

    def begin_successors(self, config: Config, stack: ExitStack) -> dict[int, Begun]:
        """Start another process for each worker; `stack` closes their reports of readiness.

        If one cannot be started, end the others, and raise OSError.
        """
        self._before = {index: self._sockets.addresses(index) for index in self.children}
        begun: dict[int, Begun] = {}
        for index in self.children:
            try:
                readiness, child = stack.enter_context(ReadinessListener()), self.new(index, config)
                begun[index] = child, readiness
                sockets = self._sockets.fit(index, _addresses(config))
                begin(child, readiness, *socket_arguments(sockets), sockets=sockets)
            except OSError:
                self.replace_by(begun)  # none of them is ready
                raise
        return begun

    def replace_by(self, successors: Mapping[int, Begun]) -> list[Child]:
        """Put each successor that serves in the place of its worker; return the replaced ones."""
        replaced = []
        for index, (child, readiness) in successors.items():
            if readiness.poll(READY):
                replaced.append(self.children[index])
                self.children[index] = child
            else:
                # The old process runs on, and accepts from its own sockets only.
                child.discard()
                self._sockets.keep(index, self._before[index])
        return replaced

    def close_sockets(self, child: Child) -> None:
        """Close the sockets of a worker that will not start again soon, if `child` is a worker."""
        for index, worker in self.children.items():
            if worker is child:
                self._sockets.drop(index)

    def close_all_sockets(self) -> None:
        """Close the sockets of all workers."""
        self._sockets.close()

    def kill(self) -> None:
        """End all workers at once, and forget them."""
        for child in self.children.values():
            child.send(signal.SIGKILL)
            child.wait()
        self.children.clear()
        self._sockets.close()

    def _index(self, child: Child) -> int:
        return next(index for index, each in self.children.items() if each is child)


def _addresses(config: Config) -> list[ListenAddress]:
    return [(each.address, each.port) for each in config.listeners]
