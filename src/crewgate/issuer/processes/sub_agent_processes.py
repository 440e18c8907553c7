"""The processes of an orchestrator's sub-agents, by branch."""

import threading
from collections.abc import Callable, Sequence

import msgspec

from crewgate import limits
from crewgate.errors import IssuerError
from crewgate.issuer.control_api.gateway_address import GatewayAddress
from crewgate.issuer.processes.sub_agent_process import HeldProcess, ProcessOwner, ServedProcess


class SubAgentCommand(msgspec.Struct, frozen=True):
    """A program for a sub-agent, and how it is run.

    Attributes:
        arguments: The program and its arguments. No shell reads them.
        gateway: Where the program reaches the gateway; None is the first listener of the
            configuration that serves tokens without a client certificate.
        user: The user that runs the program; only root can name another one than its own.
    """

    arguments: Sequence[str]
    gateway: GatewayAddress | None = None
    user: str | None = None


class SubAgentProcesses:
    """Starts the processes of one orchestrator, and ends them with their branches.

    `find_gateway` returns the gateway of the configuration, or raises ConfigurationError; None if
    there is no configuration.
    """

    def __init__(self, owner: ProcessOwner) -> None:
        self.find_gateway: Callable[[], GatewayAddress] | None = None
        self._owner = owner
        self._lock = threading.Lock()
        self._by_branch: dict[str, ServedProcess] = {}

    def hold(self, command: Sequence[str] | SubAgentCommand) -> HeldProcess:
        """Start a process that waits for its token.

        Raises:
            ConfigurationError: No listener of the configuration serves tokens.
            IssuerError: The command cannot be started, or there are too many processes.
        """
        if not isinstance(command, SubAgentCommand):
            command = SubAgentCommand(command)
        arguments = [*command.arguments]
        if isinstance(command.arguments, str) or not arguments:
            raise IssuerError('command: expected a list of texts, such as ["python", "agent.py"]')
        with self._lock:
            self._forget_ended()
            if len(self._by_branch) >= limits.sidecar_processes_max:
                raise IssuerError(
                    f"{limits.sidecar_processes_max} processes of this orchestrator run, and it "
                    "may have no more; wait until some end"
                )
        gateway = command.gateway
        if gateway is None:
            if self.find_gateway is None:
                raise IssuerError(
                    "command: this orchestrator knows no listener of the gateway; pass a "
                    "SubAgentCommand with a `gateway`"
                )
            gateway = self.find_gateway()
        return HeldProcess(arguments, gateway, command.user)

    def begin(self, held: HeldProcess, branch: str) -> None:
        """Let a process begin, with the token of its branch."""
        process = held.begin(branch, self._owner)
        with self._lock:
            self._by_branch[branch] = process

    def get(self, branch: str) -> ServedProcess | None:
        """Return the process of a branch; None if it was started without one."""
        with self._lock:
            return self._by_branch.get(branch)

    def use(self, branch: str, token: str) -> None:
        """Give the process of a branch, if it has one, a newer token; does not wait."""
        process = self.get(branch)
        if process is not None:
            process.use(token)

    def end(self, branch: str) -> None:
        """End the process of a branch, if it has one; does not wait."""
        process = self.get(branch)
        if process is not None:
            process.end()

    def close(self) -> None:
        """End all processes, and wait until they have ended."""
        with self._lock:
            processes = [*self._by_branch.values()]
        for process in processes:
            process.end()
        for process in processes:
            process.wait()

    def _forget_ended(self) -> None:
        for branch in [key for key, each in self._by_branch.items() if each.returncode is not None]:
            del self._by_branch[branch]
