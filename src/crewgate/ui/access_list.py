"""`GET /api/access`: who may do what, by the configuration of this machine."""

from collections.abc import Sequence
from typing import Final

import msgspec

from crewgate import limits
from crewgate.config import UIConfig
from crewgate.config.crew import CeilingConfig, CrewConfig
from crewgate.config.ui import UIAccessConfig
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import ALL_CREWS, Person, Right


class AccessOfPeople(msgspec.Struct, frozen=True):
    """A table [ui.access.NAME]; `crews` is `["*"]` for all crews."""

    access: str
    groups: Sequence[str]
    people: Sequence[str]
    rights: Sequence[str]
    crews: Sequence[str]


class Ceiling(msgspec.Struct, frozen=True):
    """The most that tokens can grant; None: no limit."""

    tools: Sequence[str]
    credits_micro: int | None
    lifetime_seconds: int
    depth: int
    binding: str


class RoleCeiling(Ceiling, frozen=True, kw_only=True):
    """The ceiling of a role."""

    role: str


class OrchestratorCeiling(Ceiling, frozen=True, kw_only=True):
    """The ceiling of an orchestrator, by its `client_id`."""

    orchestrator: str


class CrewAccess(msgspec.Struct, frozen=True):
    """A crew: who answers for it, and the most that its tokens can grant. None: no limit."""

    crew: str
    sponsor: str
    tools: Sequence[str]
    credits_micro: int | None
    credits_per_hour_micro: int | None
    credits_per_day_micro: int | None
    lifetime_seconds: int
    depth: int
    binding: str
    watch: str
    roles: Sequence[RoleCeiling]
    orchestrators: Sequence[OrchestratorCeiling]


class AccessList(msgspec.Struct, frozen=True):
    """`operators`: a person with the certificate of an operator has all rights at this page."""

    people: list[AccessOfPeople]
    operators: bool
    crews: list[CrewAccess]


async def access(state: PageState, person: Person, request: PageRequest) -> AccessList:  # noqa: ARG001
    """Return what concerns the crews that the person may view. Raises ControlError 403."""
    if not person.may_somewhere(Right.VIEW):
        person.demand(Right.VIEW, "")
    crews = [crew for crew in state.config.crews if person.may(Right.VIEW, crew.name)]
    names = {crew.name for crew in crews}
    sees_all = person.may(Right.VIEW, "")
    page = state.page
    people = [_people(each, names, sees_all=sees_all) for each in _concerning(page, names)]
    return AccessList(people, page.asks_certificates, [_crew(crew) for crew in crews])


def _concerning(page: UIConfig, crews: set[str]) -> list[UIAccessConfig]:
    return [each for each in page.access if each.crews is None or crews & {*each.crews}]


def _people(each: UIAccessConfig, crews: set[str], *, sees_all: bool) -> AccessOfPeople:
    if each.crews is None:
        named = [ALL_CREWS]
    else:
        named = [crew for crew in each.crews if sees_all or crew in crews]
    return AccessOfPeople(each.name, each.groups, each.people, each.rights, named)


def _crew(crew: CrewConfig) -> CrewAccess:
    named = crew.orchestrators
    return CrewAccess(
        crew.name,
        crew.sponsor,
        crew.tools,
        _limit(crew.credits_per_branch),
        _limit(crew.credits_per_hour),
        _limit(crew.credits_per_day),
        crew.lifetime_seconds,
        crew.depth,
        crew.binding,
        crew.watch.mode.value,
        [RoleCeiling(*_ceiling(each), role=each.name) for each in crew.roles],
        [OrchestratorCeiling(*_ceiling(each), orchestrator=each.name) for each in named],
    )


def _ceiling(found: CeilingConfig) -> tuple[Sequence[str], int | None, int, int, str]:
    credits_micro = _limit(found.credits_per_branch)
    return found.tools, credits_micro, found.lifetime_seconds, found.depth, found.binding


def _limit(credits_micro: int) -> int | None:
    return None if credits_micro == limits.quota_micro_max else credits_micro


ACCESS: Final = PageEndpoint("GET", "/api/access", access)
