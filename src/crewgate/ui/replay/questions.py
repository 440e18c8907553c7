"""Asks all machines about recorded runs, in a thread, for a person with the right to see them."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import msgspec
import trio

from crewgate import limits
from crewgate.audit.filters import parse_since
from crewgate.audit.replay.asking import ask_lines
from crewgate.audit.replay.extract import MachineExtract
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.run_replay import RunReplay, gather
from crewgate.core import cross_crew_accounts
from crewgate.core.problem_types import INVALID_REQUEST
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import MachineAnswers
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right
from crewgate.ui.silent_machines import shown_to

R = TypeVar("R")
RUN_QUERY = {
    "crew": "the crew of the run",
    "run": "the id of the run, or of a branch",
    "since": "lines from this time on, such as 10m or 2026-11-24T12:00:00Z",
    "until": "lines before this time",
}


def moment(request: PageRequest, name: str) -> datetime | None:
    """Return the time of a parameter; None without it. Raises ControlError 400."""
    text = request.query.get(name)
    try:
        return None if text is None else parse_since(text, datetime.now(UTC))
    except ValueError as error:
        raise INVALID_REQUEST.error(f"{name}: {error}") from error


async def ask(state: PageState, person: Person, work: Callable[[AdminClient], R]) -> R:
    """Do the work with the agent of this machine, in a thread. Raises ControlError 429."""
    state.question_limit.take(person.name)
    seconds = limits.members_audit_seconds_max + limits.ipc_seconds_max

    def read() -> R:
        with AdminClient(state.folder, seconds) as agent:
            return work(agent)

    with state.questions_under_way.enter(person.name):
        return await trio.to_thread.run_sync(read, limiter=state.question_threads)


async def replay(
    state: PageState, person: Person, request: PageRequest, *, limit: int, is_signed: bool
) -> RunReplay:
    """Return the run that a request names. Raises ControlError 400, 403 or 429."""
    crew = request.query.get("crew", "")
    if not crew:
        raise INVALID_REQUEST.error("crew: name the crew")
    person.demand(Right.VIEW, crew)
    since, until = moment(request, "since"), moment(request, "until")
    try:
        question = ReplayFilter(
            run=request.query.get("run", ""),
            crew=cross_crew_accounts.caller(crew),  # the audit names the crew that calls
            since=since,
            until=until,
            limit=limit,
            is_signed=is_signed,
        )
    except ValueError as error:
        raise INVALID_REQUEST.error(f"run: {error}") from error
    found = await ask(state, person, partial(_gather, question))
    return msgspec.structs.replace(found, not_asked=shown_to(person, found.not_asked))


def _gather(question: ReplayFilter, agent: AdminClient) -> RunReplay:
    def machines(asked: ReplayFilter, name: str) -> MachineAnswers[MachineExtract]:
        return ask_lines(agent, asked, name)

    return gather(question, None, machines)
