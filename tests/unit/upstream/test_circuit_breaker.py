"""The circuit of one server, driven by hand through its states and against a slow model."""

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crewgate import limits
from crewgate.config import HealthCheckConfig
from crewgate.upstream.circuit_breaker import CircuitBreaker, CircuitState

HEALTH = HealthCheckConfig("/health", interval_seconds=5, timeout_seconds=1, healthy=2, unhealthy=3)


def _opened(breaker: CircuitBreaker, now: float = 0.0, jitter: float = 1.0) -> CircuitBreaker:
    while not breaker.failed(now, jitter):
        assert breaker.admits
    return breaker


def _probe(breaker: CircuitBreaker, now: float, *, good: bool, jitter: float = 1.0) -> bool:
    assert breaker.is_due(now)
    breaker.begin_probe()
    return breaker.probed(now, jitter, good=good)


def test_failures_in_a_row_open_it() -> None:
    """The last of so many failures in a row stops the calls; one fewer does not."""
    breaker = CircuitBreaker()
    for _ in range(limits.breaker_failures - 1):
        assert not breaker.failed(0.0, 0.0)
    assert breaker.admits
    assert breaker.failed(0.0, 0.0)
    assert (breaker.admits, breaker.state) == (False, CircuitState.OPEN)


def test_an_answer_between_failures_begins_the_count_anew() -> None:
    """Failures that are not in a row never open a circuit."""
    breaker = CircuitBreaker()
    for _ in range(5):
        for _ in range(limits.breaker_failures - 1):
            assert not breaker.failed(0.0, 0.0)
        breaker.answered()
    assert breaker.admits


def test_after_a_failure_it_is_in_doubt_for_a_moment() -> None:
    """Others are preferred until the moment is over or a call is answered."""
    breaker = CircuitBreaker()
    breaker.failed(100.0, 0.0)
    assert breaker.doubt_until == 100.0 + limits.breaker_doubt_seconds
    breaker.answered()
    assert breaker.doubt_until == 0.0


def test_calls_of_before_change_nothing_once_it_is_open() -> None:
    """Failures and answers of calls that began earlier neither lengthen the outage nor end it."""
    breaker = _opened(CircuitBreaker())
    due = breaker.seconds_left(0.0)
    for _ in range(50):
        assert not breaker.failed(0.0, 1.0)
    breaker.answered()
    assert (breaker.state, breaker.seconds_left(0.0)) == (CircuitState.OPEN, due)


def test_the_backoff_doubles_to_its_most() -> None:
    """A server that stays away is probed after 0.5 s, 1 s, 2 s and so on, and then every 30 s."""
    now, waits = 0.0, []
    breaker = _opened(CircuitBreaker())
    for _ in range(9):
        waits.append(breaker.seconds_left(now))
        now += waits[-1]
        assert not breaker.is_due(now - 0.01)
        assert not _probe(breaker, now, good=False)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 0.25), (0.5, 0.375), (1.0, 0.5)])
def test_jitter_shortens_the_backoff_by_half_at_most(jitter: float, wait: float) -> None:
    """The probes of many workers spread over the second half of the backoff."""
    assert _opened(CircuitBreaker(), jitter=jitter).seconds_left(0.0) == wait


def test_one_probe_at_a_time_and_no_call_meanwhile() -> None:
    """While a probe is under way no other is due, and calls do not pass."""
    breaker = _opened(CircuitBreaker())
    breaker.begin_probe()
    assert (breaker.state, breaker.admits, breaker.is_due(1e9)) == (
        CircuitState.HALF_OPEN,
        False,
        False,
    )
    with pytest.raises(RuntimeError, match="under way"):
        breaker.begin_probe()
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_probe_that_was_not_sent_cannot_end() -> None:
    """An illegal event raises and changes nothing."""
    breaker = _opened(CircuitBreaker())
    with pytest.raises(RuntimeError, match="no probe"):
        breaker.probed(0.0, 0.0, good=True)
    assert breaker.state is CircuitState.OPEN


def test_a_good_probe_puts_it_on_trial() -> None:
    """After a good probe calls pass; one failure opens it again, for longer than before."""
    breaker = _opened(CircuitBreaker())
    assert _probe(breaker, 1.0, good=True)
    assert breaker.admits
    assert breaker.failed(2.0, 1.0)
    assert breaker.seconds_left(2.0) == 1.0


def test_an_answer_ends_the_trial() -> None:
    """After an answered call it takes as many failures as ever, and the backoff is short again."""
    breaker = _opened(CircuitBreaker())
    _probe(breaker, 1.0, good=True)
    breaker.answered()
    for _ in range(limits.breaker_failures - 1):
        assert not breaker.failed(2.0, 1.0)
    assert breaker.failed(2.0, 1.0)
    assert breaker.seconds_left(2.0) == 0.5


def test_without_health_a_closed_circuit_is_not_probed() -> None:
    """Nobody opens connections to a server that answers calls."""
    breaker = CircuitBreaker()
    assert not breaker.is_due(1e9)
    _probe(_opened(breaker), 1.0, good=True)
    assert not breaker.is_due(1e9)


def test_health_requests_go_at_their_interval() -> None:
    """The first at once, the next an interval after the end of the one before."""
    breaker = CircuitBreaker(HEALTH)
    assert not _probe(breaker, 10.0, good=True)
    assert (breaker.is_due(14.9), breaker.is_due(15.0)) == (False, True)


def test_bad_health_opens_it_without_a_call() -> None:
    """So many bad answers in a row, and a good one between them begins the count anew."""
    breaker = CircuitBreaker(HEALTH)
    for number, good in enumerate([False, False, True, False, False]):
        assert not _probe(breaker, number * 5.0, good=good)
    assert breaker.admits
    assert _probe(breaker, 25.0, good=False)
    assert not breaker.admits


def test_health_closes_it_after_good_answers_in_a_row() -> None:
    """A bad one between them begins the count anew, and the backoff again."""
    breaker = _opened(CircuitBreaker(HEALTH))
    assert not _probe(breaker, 1.0, good=True)
    assert breaker.seconds_left(1.0) == HEALTH.interval_seconds
    assert not _probe(breaker, 6.0, good=False)
    assert breaker.seconds_left(6.0) == 1.0
    assert not _probe(breaker, 7.0, good=True)
    assert _probe(breaker, 12.0, good=True)
    assert breaker.admits


def test_health_that_was_asked_before_it_opened_says_nothing() -> None:
    """A good answer to a question of before the failures does not close the circuit."""
    breaker = CircuitBreaker(HealthCheckConfig("/health", healthy=1))
    breaker.begin_probe()
    _opened(breaker)
    assert not breaker.probed(0.0, 1.0, good=True)
    assert (breaker.state, breaker.seconds_left(0.0)) == (CircuitState.OPEN, 0.5)
    assert _probe(breaker, 0.5, good=True)


class Model(RuleBasedStateMachine):
    """A breaker beside the list of all that happened to it, read from the start each time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker()
        self.now = 0.0
        self.history: list[tuple[float, str]] = []

    def _failures_in_a_row(self) -> int:
        count = 0
        for _, what in self.history:
            if what == "answered":
                count = 0
            elif what == "failed":
                count += 1
            elif what == "closed":
                count = limits.breaker_failures - 1
        return count

    def _openings(self) -> int:
        """How often in a row it opened, or stayed open, without an answer between."""
        count = 0
        for _, what in self.history:
            if what == "answered":
                count = 0
            elif what in {"opened", "bad"}:
                count += 1
        return count

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(jitter=st.floats(0, 1))
    def fail(self, jitter: float) -> None:
        passes = self.breaker.admits
        if passes:
            self.history.append((self.now, "failed"))
        opened = self.breaker.failed(self.now, jitter)
        assert opened == (passes and self._failures_in_a_row() >= limits.breaker_failures)
        if opened:
            self.history.append((self.now, "opened"))
            self._check_wait()

    @rule()
    def answer(self) -> None:
        if self.breaker.admits:
            self.history.append((self.now, "answered"))
        self.breaker.answered()

    @precondition(lambda self: self.breaker.is_due(self.now))
    @rule()
    def begin(self) -> None:
        self.breaker.begin_probe()

    @precondition(lambda self: self.breaker.probing)
    @rule(good=st.booleans(), jitter=st.floats(0, 1))
    def end(self, good: bool, jitter: float) -> None:
        assert self.breaker.probed(self.now, jitter, good=good) == good
        self.history.append((self.now, "closed" if good else "bad"))
        if not good:
            self._check_wait()

    def _check_wait(self) -> None:
        whole = min(0.5 * 2 ** (self._openings() - 1), 30.0)
        left = self.breaker.seconds_left(self.now)
        assert whole / 2 - 1e-6 <= left <= whole + 1e-6

    @invariant()
    def calls_pass_when_the_history_says_so(self) -> None:
        last = [what for _, what in self.history if what in {"opened", "closed"}]
        assert self.breaker.admits == (not last or last[-1] == "closed")
        assert self.breaker.admits == (self.breaker.state is CircuitState.CLOSED)
        assert not math.isnan(self.breaker.seconds_left(self.now))


TestModel = Model.TestCase
