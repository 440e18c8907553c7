"""Waits until a revocation is on this machine's disk, and on those of a majority or of all."""

import trio

from crewgate import limits
from crewgate.agent.state import AgentState
from crewgate.core.gossip.acknowledgements import AckState
from crewgate.ipc.admin_messages import QuorumResult, Until

_ENOUGH = {
    "local": lambda receipt: receipt.is_kept_here,
    "quorum": lambda receipt: receipt.has_quorum,
    "all": lambda receipt: receipt.is_everywhere,
}


class QuorumWait:
    """The wait for one revocation.

    `remote` collects the other machines' acknowledgements; None if there are no other machines, or
    they could not be told. An empty `until` means a majority of the members.
    """

    def __init__(
        self, agent: AgentState, remote: AckState | None, until: Until, read_ns: int
    ) -> None:
        self._agent = agent
        self._remote = remote
        has_others = agent.fanout.others is not None
        self._until: Until = until or ("quorum" if has_others else "local")
        self._read_ns = read_ns
        self._ms = 0.0

    async def wait(self) -> None:
        """Wait until it is on disk here, and acknowledged by enough machines or timed out."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_for_others)
            # This is not cancelled: a write in progress ends by itself.
            await trio.to_thread.run_sync(self._agent.revocations_journal.sync)
            self._ms = max(self._ms, self._since_read())

    async def _wait_for_others(self) -> None:
        others = self._agent.fanout.others
        if others is not None and self._remote is not None:
            with trio.move_on_after(limits.revocation_answer_seconds_max):
                await others.wait(self._remote, _ENOUGH[self._until])
            self._ms = max(self._ms, self._since_read())

    def result(self) -> QuorumResult:
        """Return the result so far."""
        others, remote = self._agent.fanout.others, self._remote
        if others is None or remote is None:
            of = 1 if others is None else others.in_touch().members
            is_kept = not self._agent.revocations_journal.incomplete
            is_enough = is_kept and (of == 1 or self._until == "local")
            return QuorumResult(self._until, int(is_kept), of, self._ms, enough=is_enough)
        missing, names_max = remote.missing, limits.ipc_missing_names_max
        return QuorumResult(
            until=self._until,
            applied_on=remote.applied_on,
            of=remote.of,
            ms=self._ms,
            missing=[others.name(member) for member in missing[:names_max]],
            missing_more=max(0, len(missing) - names_max),
            enough=_ENOUGH[self._until](remote),
        )

    def _since_read(self) -> float:
        return max(0, self._agent.clock.monotonic_ns() - self._read_ns) / 1e6
