"""Whose revocations wait for whose."""

import pytest
import trio
import trio.testing
from api_world import BD, BD_OTHER, BD_RUN, FINANCE, FINANCE_RUN, OPERATOR, Desk, FakeOffice

from crewgate import limits
from crewgate.api.revocation_limit import CrewRevocationLimiter
from crewgate.api.schemas import RevocationResponse
from crewgate.core.problem_types import CERTIFICATE_NOT_VALID
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import Identity
from crewgate.errors import ControlError
from crewgate.ipc.admin_messages import Until


class Slow(FakeOffice):
    """Each revocation waits for machines that do not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = trio.Event()

    async def revoke(
        self, target: RevocationTarget, until: Until, by: str, reason: str = ""
    ) -> RevocationResponse:
        answer = await super().revoke(target, until, by, reason)
        await self.go_on.wait()
        return answer


async def test_a_crew_s_revocations_keep_nobody_else_waiting() -> None:
    """Of two names of one crew one is under way; the other crew's is, and all of an operator's."""
    office = Slow()
    desk, statuses = Desk(office), []

    async def end(caller: Identity, branch: str) -> None:
        answer = await desk.ask(caller, "DELETE", f"/v1/branches/{branch}")
        statuses.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for caller in (BD, BD, BD_OTHER):
            nursery.start_soon(end, caller, BD_RUN)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(end, FINANCE, FINANCE_RUN)
        for _ in range(2):
            nursery.start_soon(end, OPERATOR, BD_RUN)
        await trio.testing.wait_all_tasks_blocked()
        under_way = [each for each in office.asked if each[0] == "revoke_branch"]
        assert sorted(each[2] for each in under_way) == ["bd", "bd", "bd", "finance"]
        office.go_on.set()
    assert statuses == [200] * 6


async def test_who_waited_for_a_turn_is_judged_by_the_certificate_of_then() -> None:
    """One that was revoked meanwhile revokes nothing."""
    office = Slow()
    desk = Desk(office)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(desk.ask, BD, "DELETE", f"/v1/branches/{BD_RUN}")
        await trio.testing.wait_all_tasks_blocked()
        office.refusal = CERTIFICATE_NOT_VALID.error("revoked")
        office.go_on.set()
    assert len([each for each in office.asked if each[0] == "revoke_branch"]) == 1


async def enters(turns: CrewRevocationLimiter, caller: Identity, times: int) -> list[int]:
    """What became of so many: 200 for those that were let in."""
    found = []
    for _ in range(times):
        try:
            async with turns.enter(caller):
                found.append(200)
        except ControlError as error:
            found.append(error.status)
    return found


async def test_a_crew_has_a_rate_whatever_its_names(autojump_clock: trio.testing.MockClock) -> None:
    """A burst, and then so many a second; another crew has its own, an operator none."""
    turns, burst = CrewRevocationLimiter(), limits.crew_revocations_burst
    assert await enters(turns, BD, burst) == [200] * burst
    assert await enters(turns, BD_OTHER, 9) == [429] * 9
    assert await enters(turns, FINANCE, 9) == [200] * 9
    assert await enters(turns, OPERATOR, burst + 9) == [200] * (burst + 9)
    await trio.sleep(1)
    assert (await enters(turns, BD, 9)).count(200) == limits.crew_revocations_per_second
    assert len(turns._crews) == 2


async def test_a_failure_gives_the_turn_back() -> None:
    """Whatever ends the work."""
    turns = CrewRevocationLimiter()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with turns.enter(BD):
                raise ZeroDivisionError
