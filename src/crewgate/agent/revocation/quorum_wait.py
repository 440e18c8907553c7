"""How far a revocation has come: on this disk, with a majority of the members, or with all."""

import trio

from crewgate import limits
from crewgate.agent.state import Machine
from crewgate.core.gossip.acknowledgements import Receipt
from crewgate.ipc.admin_messages import Reach, Until

_ENOUGH = {
    "local": lambda receipt: receipt.is_kept_here,
    "quorum": lambda receipt: receipt.has_quorum,
    "all": lambda receipt: receipt.is_everywhere,
}


class Reaching:
    """One revocation on its way; `abroad` is what the other machines say.

    None is for no others, or for others who could not be asked. `until` is whom to wait for: "" is
    a majority of the members.
    """

    def __init__(
        self, machine: Machine, abroad: Receipt | None, until: Until, read_ns: int
    ) -> None:
        self._machine = machine
        self._abroad = abroad
        has_others = machine.telling.others is not None
        self._until: Until = until or ("quorum" if has_others else "local")
        self._read_ns = read_ns
        self._ms = 0.0

    async def wait(self) -> None:
        """Until it is on disk here, and so many say so, or have had their time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_for_others)
            # Not cancelled: a write that is under way ends by itself.
            await trio.to_thread.run_sync(self._machine.revocations.sync)
            self._ms = max(self._ms, self._since_read())

    async def _wait_for_others(self) -> None:
        others = self._machine.telling.others
        if others is not None and self._abroad is not None:
            with trio.move_on_after(limits.revocation_answer_seconds_max):
                await others.wait(self._abroad, _ENOUGH[self._until])
            self._ms = max(self._ms, self._since_read())

    def said(self) -> Reach:
        """How far it is by now."""
        others, abroad = self._machine.telling.others, self._abroad
        if others is None or abroad is None:
            of = 1 if others is None else others.in_touch().members
            is_kept = not self._machine.revocations_journal.incomplete
            is_enough = is_kept and (of == 1 or self._until == "local")
            return Reach(self._until, int(is_kept), of, self._ms, enough=is_enough)
        return Reach(
            until=self._until,
            applied_on=abroad.applied_on,
            of=abroad.of,
            ms=self._ms,
            missing=[others.name(member) for member in abroad.missing],
            enough=_ENOUGH[self._until](abroad),
        )

    def _since_read(self) -> float:
        return max(0, self._machine.clock.monotonic_ns() - self._read_ns) / 1e6
