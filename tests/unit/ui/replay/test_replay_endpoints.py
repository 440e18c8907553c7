"""Who may see which recorded runs on the live page, and what an export proves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Self

import msgspec
import pytest
import trio
import trio.testing
from audit_records import CHILD, OTHER, ROOT, grant, permit
from live_page import viewer
from random_runs import CREW, Site, site
from signed_audit import Machine

from crewgate import limits
from crewgate.api.caller_concurrency_limit import CallerConcurrencyLimiter
from crewgate.audit.member_report import answer
from crewgate.audit.replay.extract import MachineExtract
from crewgate.audit.replay.run_record import read
from crewgate.audit.replay.verification import verify_export
from crewgate.errors import ControlError
from crewgate.ipc.machine_messages import MachineAnswer, MachineQuestion, ReplayQuestion, encode
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.person import Person
from crewgate.ui.person_limit import PersonLimiter
from crewgate.ui.replay import questions
from crewgate.ui.replay.endpoints import ShownReplay, export, runs, show

NOON = "2026-11-24T12:00:00Z"


class Agent:
    """Answers for machines, as the processes that read their audits do."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self.machines = machines
        self.adds: list[str] = []  # lines that a machine that lies puts into its answer

    def __call__(self, folder: Path, seconds: float) -> "Agent":
        assert seconds > limits.members_audit_seconds_max
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def ask_machines(
        self, question: MachineQuestion, machine: str = "", *, others_only: bool = False
    ) -> Iterator[MachineAnswer]:
        assert not others_only
        for name in [machine] if machine else [*self.machines]:
            folder = self.machines[name].folder
            for page in answer(folder, question, folder.parent, name):
                yield MachineAnswer(1, "page", name, page)
            if self.adds and isinstance(question, ReplayQuestion):
                lines = [("worker-0", 0, "", each) for each in self.adds]
                part = msgspec.convert({"lines": lines}, MachineExtract)
                yield MachineAnswer(1, "page", name, encode(part))
            yield MachineAnswer(1, "whole", name)
        yield MachineAnswer(1, "end", next(iter(self.machines)))


class State:
    """What the endpoints use of the page's state."""

    folder = Path("/state")

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.question_limit = PersonLimiter("ask the audits", 1, 3)
        self.questions_under_way = CallerConcurrencyLimiter(limits.ui_questions_of_one_max)
        self.question_threads = trio.CapacityLimiter(2)

    def on_action(self, text: str) -> None:
        self.actions.append(text)


def request(**query: str) -> PageRequest:
    return PageRequest({}, query, b"", look_up=lambda: "ended")


@pytest.fixture
def made(tmp_path: Path) -> Site:
    """A run of crew article on two machines, and runs of crew billing."""
    found = site(Random(3), tmp_path, 60)
    machine = found.machines["gw-2"]
    machine.writers[0].write(grant(OTHER, "writer", 0, crew="billing"))
    machine.writers[0].write(permit(2, OTHER, "writer", "a", 5, crew="billing"))
    for each in found.machines.values():
        each.take()
    return found


@pytest.fixture
def agent(made: Site, monkeypatch: pytest.MonkeyPatch) -> Agent:
    found = Agent(made.machines)
    monkeypatch.setattr(questions, "AdminClient", found)
    keys = {machine.state: machine.key for machine in made.machines.values()}
    monkeypatch.setattr("crewgate.audit.member_report.CheckpointKey.load", keys.__getitem__)
    return found


@pytest.fixture
def state() -> Any:
    return State()


async def shown(state: Any, person: Person, asked: PageRequest) -> ShownReplay:
    """What the page gets."""
    return msgspec.json.decode(await body_of(await show(state, person, asked)), type=ShownReplay)


async def body_of(response: Any) -> bytes:
    if not hasattr(response, "body_iterator"):
        return bytes(response.body)
    return b"".join([piece async for piece in response.body_iterator])


async def refused(work: Callable[..., Any], state: Any, person: Person, **query: str) -> int:
    with pytest.raises(ControlError) as error:
        await work(state, person, request(**query))
    return error.value.status


@pytest.mark.usefixtures("agent")
async def test_the_steps_of_a_run_are_those_of_all_machines(made: Site, state: Any) -> None:
    found = await shown(state, viewer(), request(crew=CREW, run=made.run))
    assert [each.machine for each in found.machines] == ["gw-2", "gw-3"]
    assert len(found.steps) == sum(len(each.lines) for each in found.machines) > 10
    early = request(crew=CREW, run=made.run, until="2000-01-01T00:00:00Z")
    some = await shown(state, viewer(), early)
    assert not some.steps


@pytest.mark.usefixtures("agent")
async def test_only_who_may_see_the_crew_gets_its_runs(made: Site, state: Any) -> None:
    stranger = viewer("billing")
    for work in (show, export):
        assert await refused(work, state, stranger, crew=CREW, run=made.run) == 403
        assert await refused(work, state, Person("a", "login", {}), crew=CREW, run=made.run) == 403
    assert await refused(runs, state, stranger, crew=CREW) == 403
    assert await refused(runs, state, Person("a", "login", {})) == 403
    # Nor does a branch of another crew show through one's own.
    found = await shown(state, stranger, request(crew="billing", run=made.run))
    assert {each.kind for each in _records(found)} <= {"call", "grant", "open", "burned", "rule",
                                                       "revocation", "watch"}  # fmt: skip
    assert {each.crew for each in _records(found)} <= {"billing", ""}


def _records(found: Any) -> list[Any]:
    lines = [line for machine in found.machines for line in machine.lines]
    return [record for line in lines if (record := read(line.text.encode()))]


@pytest.mark.usefixtures("agent")
async def test_the_list_has_the_runs_of_the_crews_that_a_person_may_see(
    made: Site, state: Any
) -> None:
    own = await runs(state, viewer("billing"), request())
    assert {each.run.crew for each in own.runs} == {"billing"}
    both = await runs(state, viewer(), request())
    assert {each.run.crew for each in both.runs} == {"billing", CREW}
    one = await runs(state, viewer(), request(crew=CREW))
    assert {each.run.crew for each in one.runs} == {CREW}
    assert all(each.ended for each in one.runs)


@pytest.mark.usefixtures("agent", "made")
async def test_the_list_says_of_how_many_crews_it_has_no_runs(
    state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "replay_crews_max", 1)
    found = await runs(state, viewer("billing", CREW), request())
    assert ({each.run.crew for each in found.runs}, found.crews_left_out) == ({CREW}, 1)
    assert (await runs(state, viewer("billing", CREW), request(crew=CREW))).crews_left_out == 0
    assert (await runs(state, viewer(), request())).crews_left_out == 0


async def test_a_machine_that_sends_lines_of_others_is_shown_nowhere(
    made: Site, agent: Agent, state: Any
) -> None:
    line = f'{{"kind":"call","time":"{NOON}","crew":"billing","branch":"{made.run}"}}'
    for bad in (line, line.replace("billing", CREW).replace(made.run, CHILD), "secret"):
        agent.adds = [bad]
        # Only who sees all crews gets the texts of machines, which may name any crew.
        for person, why in (
            (viewer(name=bad), "its answer has lines that are not of this run"),
            (viewer(CREW, name=bad), "it gave no whole answer"),
        ):
            found = await shown(state, person, request(crew=CREW, run=made.run))
            assert found.machines == []
            assert {each.why for each in found.not_asked} == {why}


@pytest.mark.usefixtures("agent")
async def test_an_export_proves_its_lines_and_is_logged(made: Site, state: Any) -> None:
    answered = await export(state, viewer(), request(crew=CREW, run=made.run))
    data = await body_of(answered)
    assert verify_export(data, made.keys).is_proven
    assert answered.headers["content-disposition"] == (
        f'attachment; filename="replay-{made.run}.html"'
    )
    assert answered.headers["cache-control"] == "no-store"
    assert state.actions == [f"person/ada exported run {made.run} of crew {CREW}"]


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize(
    "query",
    [{}, {"run": ROOT}, {"crew": CREW}, {"crew": CREW, "run": "x"},
     {"crew": CREW, "run": ROOT, "since": "yesterday"},
     {"crew": CREW, "run": ROOT, "until": "2026-11-24T12:00:00"}],
)  # fmt: skip
async def test_bad_parameters_are_refused(query: dict[str, str], state: Any) -> None:
    assert await refused(show, state, viewer(), **query) == 400
    assert await refused(export, state, viewer(), **query) == 400


@pytest.mark.usefixtures("agent")
async def test_a_person_asks_at_most_so_often(made: Site, state: Any) -> None:
    """Each question reads the audits of all machines."""
    for _ in range(3):
        await show(state, viewer(), request(crew=CREW, run=made.run))
    assert await refused(show, state, viewer(), crew=CREW, run=made.run) == 429
    await show(state, viewer(name="person/grace"), request(crew=CREW, run=made.run))


@pytest.mark.usefixtures("agent")
async def test_the_questions_of_one_person_leave_room_for_others(made: Site, state: Any) -> None:
    """A machine may need ten seconds for each, and two are asked at once."""
    state.question_limit = PersonLimiter("ask the audits", 1, 30)
    tokens = [object(), object()]
    for token in tokens:
        state.question_threads.acquire_on_behalf_of_nowait(token)
    asked = request(crew=CREW, run=made.run)
    async with trio.open_nursery() as nursery:
        for _ in range(limits.ui_questions_of_one_max):
            nursery.start_soon(show, state, viewer(), asked)
        await trio.testing.wait_all_tasks_blocked()
        assert await refused(show, state, viewer(), crew=CREW, run=made.run) == 429
        nursery.start_soon(show, state, viewer(name="person/grace"), asked)
        await trio.testing.wait_all_tasks_blocked()
        for token in tokens:
            state.question_threads.release_on_behalf_of(token)
    await show(state, viewer(), asked)
