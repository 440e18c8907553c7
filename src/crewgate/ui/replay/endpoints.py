"""`GET /api/runs`, `/api/replay` and `/api/replay/export`: what recorded runs did."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
import trio
from starlette.responses import Response

from crewgate import limits
from crewgate.audit.replay.asking import ask_runs
from crewgate.audit.replay.export_document import document
from crewgate.audit.replay.export_html import html
from crewgate.audit.replay.extract import ExtractLine
from crewgate.audit.replay.recorded_runs import RecordedRun, RunsFilter, merged
from crewgate.audit.replay.run_replay import RunReplay
from crewgate.audit.replay.run_replay import merged as merged_lines
from crewgate.audit.replay.timeline import ReplayedBranch, ReplayStep, timeline
from crewgate.core import cross_crew_accounts
from crewgate.core.problem_types import NOT_PERMITTED
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.json_response import DocumentResponse, encoded_response
from crewgate.ui.page_state import PageState
from crewgate.ui.person import ALL_CREWS, Person, Right
from crewgate.ui.replay import questions
from crewgate.ui.silent_machines import shown_to


class ListedRun(msgspec.Struct, frozen=True):
    """A run, and how it ended, in words."""

    run: RecordedRun
    ended: str


class RunList(msgspec.Struct, frozen=True):
    """The newest runs, the newest first; the machines that answered, and those that did not.

    The runs of so many crews are left out, since a question names a bounded number of crews.
    """

    runs: list[ListedRun]
    machines: list[str]
    not_asked: Sequence[SilentMachine]
    crews_left_out: int = 0


class ShownMachine(msgspec.Struct, frozen=True):
    """The lines of one machine; `left_out` more from `left_out_from` on did not fit."""

    machine: str
    lines: list[ExtractLine]
    left_out: int
    left_out_from: datetime | None
    unreadable: int


class ShownReplay(msgspec.Struct, frozen=True):
    """The steps of a run, as `audit.replay.timeline.Timeline` has them, with their lines."""

    crew: str
    run: str
    machines: list[ShownMachine]
    not_asked: Sequence[SilentMachine]
    branches: list[ReplayedBranch]
    steps: list[ReplayStep]


async def runs(state: PageState, person: Person, request: PageRequest) -> RunList:
    """Return the runs of the crews that a person may see. Raises ControlError 400, 403 or 429."""
    crew = cross_crew_accounts.caller(request.query.get("crew", ""))
    if crew:
        person.demand(Right.VIEW, crew)
    held = person.rights.get(Right.VIEW, frozenset())
    if not held:
        raise NOT_PERMITTED.error("you lack the right view for any crew")
    named = {crew} if crew else held
    crews = () if ALL_CREWS in named else tuple(sorted(named)[: limits.replay_crews_max])
    since, until = questions.moment(request, "since"), questions.moment(request, "until")
    wanted = RunsFilter(crews, since, until)
    found = merged({}, await questions.ask(state, person, partial(_ask_runs, wanted)), wanted.limit)
    now = datetime.now(UTC)
    # A machine that lies could send runs of other crews.
    rows = [
        ListedRun(run, run.how_ended(now))
        for run in found.runs
        if person.may(Right.VIEW, run.crew) and (not crew or run.crew == crew)
    ]
    left_out = 0 if ALL_CREWS in named else len(named) - len(crews)
    return RunList(rows, found.machines, shown_to(person, found.not_asked), left_out)


def _ask_runs(wanted: RunsFilter, agent: AdminClient) -> Any:  # noqa: ANN401 - of `ask_runs`
    return ask_runs(agent, wanted)


async def show(state: PageState, person: Person, request: PageRequest) -> Response:
    """Return the `ShownReplay` of a run, without proof. Raises ControlError 400, 403 or 429."""
    found = await questions.replay(
        state, person, request, limit=limits.ui_replay_lines_max, is_signed=False
    )

    def encoded() -> bytes:
        return msgspec.json.encode(shown(found))

    # Encoding some megabytes would hold all other browsers.
    return encoded_response(await trio.to_thread.run_sync(encoded, limiter=state.question_threads))


def shown(found: RunReplay) -> ShownReplay:
    """Return the answer for a replay."""
    steps = timeline(merged_lines(found.machines), found.question.run)
    machines = [
        ShownMachine(each.machine, each.lines, each.left_out, each.left_out_from, each.unreadable)
        for each in found.machines
    ]
    return ShownReplay(
        found.question.crew,
        found.question.run,
        machines,
        found.not_asked,
        steps.branches,
        steps.steps,
    )


async def export(state: PageState, person: Person, request: PageRequest) -> Response:
    """Return a run as one HTML file, which machines have signed; the audit says who has it.

    Raises ControlError 400, 403 or 429.
    """
    found = await questions.replay(
        state, person, request, limit=limits.replay_lines_max, is_signed=True
    )
    data = await trio.to_thread.run_sync(_written, found, limiter=state.question_threads)
    run = found.question.run
    state.on_action(f"{person.name} exported run {run} of crew {found.question.crew}")
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="replay-{run}.html"',
    }
    return DocumentResponse(data, headers, "text/html; charset=utf-8")


def _written(found: RunReplay) -> bytes:
    return html(document(found))


_RANGE: Final = {
    "since": "runs with lines from this time on, such as 1d or 2026-11-24T12:00:00Z",
    "until": "runs with lines before this time",
}
RUNS: Final = PageEndpoint(
    "GET", "/api/runs", runs, {"crew": "the crew; without it, all that you may see", **_RANGE}
)
REPLAY: Final = PageEndpoint("GET", "/api/replay", show, questions.RUN_QUERY)
EXPORT: Final = PageEndpoint("GET", "/api/replay/export", export, questions.RUN_QUERY)
