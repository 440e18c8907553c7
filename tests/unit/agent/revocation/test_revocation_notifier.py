"""Cuts that nobody waits for: at once, and in a storm many together."""

from collections.abc import Sequence

import trio
from trio.testing import MockClock

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.ipc_server.attachments import AttachedProcesses
from crewgate.agent.revocation.disconnect_acks import PendingAcks
from crewgate.agent.revocation.revocation_notifier import RevocationNotifier

MS = 10**6


class Slow(RevocationNotifier):
    """To tell everybody takes 4 ms."""

    def __init__(self, guests: AttachedProcesses) -> None:
        super().__init__(guests, lambda: round(trio.current_time() * 1e9) + self.spent)
        self.spent = 0
        self.told: list[int] = []

    def terminate(self, keys: Sequence[bytes]) -> tuple[int, PendingAcks]:
        self.spent += 4 * MS
        self.told.append(len(keys))
        return super().terminate(keys)


async def test_a_storm_takes_half_of_the_time_at_most(
    table: OwnedTable, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What comes within 4 ms of a telling waits, and is told together; no frame is too large."""
    telling = Slow(AttachedProcesses(table))
    nursery.start_soon(telling.terminate_loop)
    telling.terminate_soon([bytes(16)])
    assert telling.told == [1]
    for _ in range(2 + limits.ipc_revoked_keys_max):
        telling.terminate_soon([bytes(16)])
    assert telling.told == [1]
    await trio.sleep(0.003)
    assert telling.told == [1]
    await trio.sleep(0.002)
    assert telling.told == [1, limits.ipc_revoked_keys_max, 2]
    await trio.sleep(1)
    telling.terminate_soon([bytes(16)])
    assert telling.told[3:] == [1]
