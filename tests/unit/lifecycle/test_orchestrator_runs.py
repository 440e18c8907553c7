"""Lives: one way, one at a time, and no certificate once the end is intended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from orchestrator_certificates import ONE, OTHER, issue

from crewgate.ca.certificate_db import CertificateDB
from crewgate.config import Config
from crewgate.errors import CAError
from crewgate.lifecycle.orchestrator_runs import OrchestratorRunState, OrchestratorRunStore
from crewgate.lifecycle.processes import RunProcess, this

NOW = 1_800_000_000


def unheld(number: int) -> None:
    """No pulse: nobody asks for it here."""


@pytest.fixture
def lives(config: Config) -> Iterator[OrchestratorRunStore]:
    assert config.ca is not None
    with OrchestratorRunStore(config.ca.register) as found:
        yield found


def test_a_life_is_found_again_by_another_process(
    config: Config, lives: OrchestratorRunStore
) -> None:
    """What `begin` returned is on the disk, with the process that it is."""
    life = lives.begin("article", "bd-1", this(), ONE, unheld)
    assert life.state is OrchestratorRunState.RUNNING
    assert life.process == this()
    assert life.label == "article/bd-1"
    with OrchestratorRunStore(lives.path) as others:
        assert others.open() == [life]


def test_a_name_lives_once(lives: OrchestratorRunStore) -> None:
    """Running or ending, it is not begun again; another name and another crew are."""
    lives.begin("article", "bd-1", this(), ONE, unheld)
    with pytest.raises(CAError, match=r"runs already, as process \d+; stop it with"):
        lives.begin("article", "bd-1", this(), OTHER, unheld)
    lives.begin("article", "bd-2", this(), OTHER, unheld)
    lives.begin("finance", "bd-1", this(), OTHER, unheld)
    lives.request_stop("article", "bd-1", NOW)
    with pytest.raises(CAError, match="is being decommissioned"):
        lives.begin("article", "bd-1", this(), OTHER, unheld)


def test_uids_of_others_are_not_given_again(lives: OrchestratorRunStore) -> None:
    """The one who chooses is told what others have or had; a name may have its own again."""
    seen: list[frozenset[int]] = []

    def choose(taken: frozenset[int]) -> int:
        seen.append(taken)
        return 70_000 + len(seen)

    first = lives.begin("article", "a", this(), ONE, unheld, choose)
    lives.begin("article", "b", this(), OTHER, unheld, choose)
    for state in (
        OrchestratorRunState.ENDING,
        OrchestratorRunState.UNTOLD,
        OrchestratorRunState.ENDED,
    ):
        lives.move(first.id, state, NOW)
    lives.begin("article", "c", this(), ONE, unheld, choose)
    lives.begin("finance", "a", this(), ONE, unheld, choose)
    lives.begin("article", "a", this(), ONE, unheld, choose)
    assert seen == [
        frozenset(),
        {70_001},
        {70_001, 70_002},
        {70_001, 70_002, 70_003},
        {70_002, 70_003, 70_004},
    ]


def test_the_way_is_one_way(lives: OrchestratorRunStore) -> None:
    """A step is not left out, and who comes late changes nothing."""
    life = lives.begin("article", "bd-1", this(), ONE, unheld)
    with pytest.raises(ValueError, match="is running, and cannot be untold yet"):
        lives.move(life.id, OrchestratorRunState.UNTOLD, NOW)
    assert lives.move(life.id, OrchestratorRunState.ENDING, NOW).until == NOW
    assert lives.request_stop("article", "bd-1", NOW + 5).until == NOW
    assert lives.move(life.id, OrchestratorRunState.UNTOLD, NOW + 9).until == NOW + 9
    assert (
        lives.move(life.id, OrchestratorRunState.ENDING, NOW + 20).state
        is OrchestratorRunState.UNTOLD
    )
    assert lives.move(life.id, OrchestratorRunState.ENDED, NOW + 30).until == NOW + 9
    assert lives.open() == []
    assert lives.until("article", "bd-1") == NOW + 9
    assert lives.until("article", "bd-2") == 0


def test_who_never_lived_is_ended_too(lives: OrchestratorRunStore) -> None:
    """An intent for a name without a process: that of certificates that a person issued."""
    life = lives.request_stop("article", "bd-1", NOW)
    assert (life.state, life.pid, life.instance) == (OrchestratorRunState.ENDING, 0, b"")


def test_no_certificate_is_signed_while_its_orchestrator_is_ended(
    config: Config, lives: OrchestratorRunStore
) -> None:
    """By whatever process, of whatever instance; another name gets its own."""
    life = lives.begin("article", "bd-1", this(), ONE, unheld)
    before = issue(config, ONE)
    lives.request_stop("article", "bd-1", NOW)
    for instance in (ONE, OTHER):
        with pytest.raises(CAError, match=r"issued to .*: its \w+ (is being|has been) ended"):
            issue(config, instance)
    issue(config, OTHER, name="bd-2")
    assert lives.serials_to_revoke(life, 0) == [before]


def test_no_certificate_is_signed_for_a_process_that_was_ended(
    config: Config, lives: OrchestratorRunStore
) -> None:
    """Its name may live again; a renewal that comes late is of the one that does not."""
    life = lives.begin("article", "bd-1", this(), ONE, unheld)
    for state in (OrchestratorRunState.ENDING, OrchestratorRunState.UNTOLD):
        lives.move(life.id, state, NOW)
    lives.begin("article", "bd-1", this(), OTHER, unheld)
    with pytest.raises(CAError, match="its process has been ended"):
        issue(config, ONE)
    issue(config, OTHER)


def test_nothing_of_a_later_life_is_doomed_by_an_earlier(
    config: Config, lives: OrchestratorRunStore
) -> None:
    """Whoever completes an intent that others completed finds nothing to revoke."""
    life = lives.begin("article", "bd-1", this(), ONE, unheld)
    lives.move(life.id, OrchestratorRunState.ENDING, NOW)
    lives.move(life.id, OrchestratorRunState.UNTOLD, NOW)
    lives.begin("article", "bd-1", this(), OTHER, unheld)
    issue(config, OTHER)
    assert lives.serials_to_revoke(life, 0) == []


def test_of_a_name_one_ended_life_is_kept(lives: OrchestratorRunStore) -> None:
    """The table does not grow with restarts."""
    for number in range(5):
        life = lives.begin("article", "bd-1", this(), bytes([number]) * 16, unheld)
        for state in (
            OrchestratorRunState.ENDING,
            OrchestratorRunState.UNTOLD,
            OrchestratorRunState.ENDED,
        ):
            lives.move(life.id, state, NOW + number)
    found = lives._rows("SELECT count(*) FROM life")
    assert found == [(1,)]
    assert lives.until("article", "bd-1") == NOW + 4


def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / "issued.sqlite"
    path.write_text("no database, and long enough to be seen as none by whoever opens it" * 20)
    with pytest.raises(CAError, match=r"issued\.sqlite"):
        OrchestratorRunStore(path)


NAMES = st.sampled_from(["a", "b"])


class LivesMachine(RuleBasedStateMachine):
    """Against a plain list: at most one of a name is running or ending, whatever is asked."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        LivesMachine.counter += 1
        path = self.folder / f"{LivesMachine.counter}.sqlite"
        CertificateDB(path, is_new=True).close()
        self.lives = OrchestratorRunStore(path)
        self.states: dict[int, tuple[str, OrchestratorRunState]] = {}
        self.now = NOW

    counter = 0

    def standing(self, name: str) -> int | None:
        alive = {OrchestratorRunState.RUNNING, OrchestratorRunState.ENDING}
        found = [n for n, (whose, state) in self.states.items() if whose == name and state in alive]
        return found[0] if found else None

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        process = RunProcess(1, 2, "boot")
        if self.standing(name) is None:
            life = self.lives.begin("article", name, process, ONE, unheld)
            self.states[life.id] = (name, OrchestratorRunState.RUNNING)
        else:
            with pytest.raises(CAError):
                self.lives.begin("article", name, process, ONE, unheld)

    @rule(name=NAMES)
    def intend(self, name: str) -> None:
        self.now += 1
        life = self.lives.request_stop("article", name, self.now)
        assert self.standing(name) in {None, life.id}
        self.states[life.id] = (name, OrchestratorRunState.ENDING)

    @precondition(lambda self: self.states)
    @rule(data=st.data(), state=st.sampled_from(list(OrchestratorRunState)))
    def move(self, data: st.DataObject, state: OrchestratorRunState) -> None:
        number = data.draw(st.sampled_from(sorted(self.states)))
        name, before = self.states[number]
        order = list(OrchestratorRunState)
        if before is OrchestratorRunState.ENDED:
            return  # it may be forgotten
        if order.index(state) > order.index(before) + 1:
            with pytest.raises(ValueError, match=f"cannot be {state.value} yet"):
                self.lives.move(number, state, self.now)
            return
        life = self.lives.move(number, state, self.now)
        self.states[number] = (name, max(before, state, key=order.index))
        assert life.state is self.states[number][1]

    @invariant()
    def agrees(self) -> None:
        expected = {
            n: s for n, (_, s) in self.states.items() if s is not OrchestratorRunState.ENDED
        }
        assert {life.id: life.state for life in self.lives.open()} == expected

    def teardown(self) -> None:
        self.lives.close()


def test_any_order_of_questions(tmp_path: Path) -> None:
    """The table and the list agree after every step."""
    LivesMachine.folder = tmp_path
    checks = settings(
        max_examples=30,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LivesMachine, settings=checks)
