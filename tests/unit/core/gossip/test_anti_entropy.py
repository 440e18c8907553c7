"""Comparisons: what an answer is worth, whatever is lost, late, behind, another life, or a lie."""

import msgspec
import pytest
from gossip_world import WALL, member_id

from crewgate import limits
from crewgate.core.gossip.anti_entropy import (
    NO_LIFE,
    OVER,
    AcceptLogSummary,
    AntiEntropy,
    SyncPlan,
)
from crewgate.core.gossip.messages import AcceptLogRequest, AcceptLogResponse, decode
from crewgate.core.gossip.quorum_freshness import QuorumFreshness

ME, YOU, THIRD = member_id(0), member_id(1), member_id(2)
LIFE, NEXT = b"one life", b"the next"
STALENESS = 5.0
NEVER = -float("inf")


def ids(*numbers: int) -> tuple[bytes, ...]:
    """Ids like no others."""
    return tuple(number.to_bytes(20) for number in numbers)


class One:
    """The comparisons of one of so many, who has what is in `here`."""

    def __init__(self, index: int = 0, count: int = 2, life: bytes = b"mine own") -> None:
        self.here: set[bytes] = set()
        self.asked = 0
        self.fresh = QuorumFreshness(member_id(index), counts=True)
        everybody = [member_id(each) for each in range(count)]
        self.fresh.merge(everybody, everybody)
        self.comparing = AntiEntropy(
            life,
            self.fresh,
            has=self.here.__contains__,
            holds=self.here.__contains__,
            nonce=self.nonce,
        )
        self.comparing.ask_all(0.0)

    def nonce(self) -> bytes:
        """Another one each time."""
        self.asked += 1
        return self.asked.to_bytes(8)

    def accept(self, *numbers: int) -> None:
        """Have these, and tell whoever asks."""
        for id_ in ids(*numbers):
            self.here.add(id_)
            self.comparing.accepted.add(id_)

    def ask(self, now: float) -> AcceptLogRequest:
        """The one question that is due."""
        [(_, data)] = self.comparing.due(now)
        question = decode(data)
        assert isinstance(question, AcceptLogRequest)
        return question

    def answered(self, answer: AcceptLogResponse, now: float = 0.0) -> SyncPlan:
        """What the other one has said."""
        return self.comparing.answered(YOU, answer, now, WALL)

    def answer(
        self,
        question: AcceptLogRequest,
        told: tuple[bytes, ...] = (),
        *,
        head: int | None = None,
        life: bytes = LIFE,
        counts: bool = True,
        number: int | None = None,
        wall: int = WALL,
        members: bytes = b"",
    ) -> AcceptLogResponse:
        """To a question, of one who has just that, unless it is said otherwise."""
        if number is None:
            number = question.number if question.life == life else 0
        head = number + len(told) if head is None else head
        members = members or self.fresh.digest
        return AcceptLogResponse(question.nonce, life, number, head, members, wall, counts, told)

    @property
    def since(self) -> float:
        """As of when it has compared with the other one."""
        return self.fresh.until(0.0)


def test_who_has_all_that_another_has_compared_when_it_asked() -> None:
    """Not when the answer came."""
    one = One()
    question = one.ask(0.0)
    assert (question.life, question.number) == (NO_LIFE, 0)
    assert one.answered(one.answer(question), 3.0) == SyncPlan()
    assert one.since == 0.0


def test_a_question_without_an_answer_is_followed_by_another() -> None:
    """Soon; after an answer there is a pause."""
    one = One()
    one.ask(0.0)
    assert one.comparing.next_at == limits.compare_again_seconds
    assert one.comparing.due(limits.compare_again_seconds / 2) == []
    question = one.ask(limits.compare_again_seconds)
    one.answered(one.answer(question), 0.3)
    assert one.comparing.due(limits.compare_again_seconds + limits.compare_seconds - 0.01) == []
    one.ask(limits.compare_again_seconds + limits.compare_seconds)


def test_an_answer_counts_however_long_its_way_was() -> None:
    """Others have been asked since: where a way takes longer than that, answers are as good."""
    one = One()
    first = one.ask(0.0)
    for turn in range(1, 8):
        one.ask(turn * limits.compare_again_seconds)
    assert one.answered(one.answer(first, ids(1)), 1.5).lacking == list(ids(1))
    one.here.update(ids(1))
    question = one.ask(1.6)
    one.answered(one.answer(question, ids(1)), 3.1)
    assert one.since == 1.6


def test_questions_that_nobody_answers_are_remembered_in_bounded_number() -> None:
    """The first of them are forgotten."""
    one = One()
    asked = [one.ask(turn * 0.25) for turn in range(limits.compare_questions_max + 1)]
    one.answered(one.answer(asked[0]), 9.0)
    assert one.since == NEVER
    one.answered(one.answer(asked[1]), 9.0)
    assert one.since == 0.25


def test_what_is_lacking_is_to_be_fetched_and_only_then_it_has_compared() -> None:
    """As of the first question that was answered with no more than is here by now."""
    one = One()
    found = one.answered(one.answer(one.ask(0.0), ids(1, 2)), 0.1)
    assert found == SyncPlan(list(ids(1, 2)))
    assert one.since == NEVER
    one.here.update(ids(1))
    later = 0.1 + limits.want_again_seconds
    question = one.ask(later)
    assert (question.life, question.number) == (LIFE, 0)
    assert one.answered(one.answer(question, ids(1, 2, 3)), 0.2).lacking == list(ids(2, 3))
    one.here.update(ids(2))
    question = one.ask(0.3)
    assert question.number == 1
    assert one.answered(one.answer(question, ids(2, 3)), 0.3).lacking == list(ids(3))
    assert one.since == 0.0
    one.here.update(ids(3))
    one.answered(one.answer(one.ask(0.4), ids(3)), 0.4)
    assert one.since == 0.4


def test_what_is_known_is_not_fetched_and_the_next_page_is_asked_for_at_once() -> None:
    """Until the last, with which the first question counts as well."""
    one = One()
    one.here.update(ids(*range(1, 200)))
    now, told = 0.0, 0
    while told < 190:
        page = ids(*range(told + 1, min(told + limits.answer_ids_max, 190) + 1))
        assert one.answered(one.answer(one.ask(now), page, head=190), now) == SyncPlan()
        told += len(page)
        assert one.since == (NEVER if told < 190 else now)
        now += 0.01
    soon = now - 0.01 + limits.compare_again_seconds
    assert one.comparing.due(soon - 0.01) == []
    one.answered(one.answer(one.ask(soon)), soon)
    assert one.comparing.due(soon + limits.compare_seconds - 0.01) == []


@pytest.mark.parametrize(("late", "age"), [(25, 0.5), (400, 2.5)])
def test_under_load_that_never_ends_it_has_compared_of_late(late: int, age: float) -> None:
    """Each answer has more than the last, and capsules are here only so many others later."""
    one, other = One(), One(1, life=LIFE)
    trip, asked, answers = 0.02, 0, []
    for step in range(3000):
        now = step / 500
        other.accept(step + 1)
        one.here.update(ids(max(0, step + 1 - late)))
        for _, data in one.comparing.due(now):
            question = decode(data)
            assert isinstance(question, AcceptLogRequest)
            answers.append((now + trip, other.comparing.answer(question, WALL)))
            asked += 1
        while answers and answers[0][0] <= now:
            one.answered(answers.pop(0)[1], now)
        assert step < 1500 or one.since > now - age
        assert len(one.comparing._schedule) < 100
    assert asked < 6 * 40


@pytest.mark.parametrize("change", ["nonce", "sender", "again", "no question"])
def test_an_answer_to_no_question_changes_nothing(change: str) -> None:
    """Of another, to another question, of one who was not asked, or twice."""
    one = One(count=3)
    question = decode(dict(one.comparing.due(1.0))[YOU])
    assert isinstance(question, AcceptLogRequest)
    answer = one.answer(question)
    if change == "nonce":
        answer = one.answer(AcceptLogRequest(b"another!", question.life, question.number))
    elif change == "no question":
        answer = one.answer(AcceptLogRequest(b"", question.life, question.number))
    elif change == "again":
        one.answered(answer)
        one.fresh.drop(YOU)
        one.fresh.merge([YOU], [YOU])
    one.comparing.answered(THIRD if change == "sender" else YOU, answer, 1.0, WALL)
    assert one.since == NEVER


def test_one_who_does_not_count_or_has_other_members_was_not_compared_with() -> None:
    """Though what it has is fetched all the same."""
    one = One()
    found = one.answered(one.answer(one.ask(0.0), ids(1), counts=False), 0.0)
    assert found.lacking == list(ids(1))
    one.here.update(ids(1))
    one.answered(one.answer(one.ask(1.0), ids(1), members=b"others' "), 1.0)
    assert one.since == NEVER
    one.answered(one.answer(one.ask(2.0)), 2.0)
    assert one.since == 2.0


@pytest.mark.parametrize("who", ["it", "we", "both count"])
def test_one_that_does_not_count_is_asked_more_often(who: str) -> None:
    """Nobody is fresh with it, nor it with anybody for long, before it does."""
    one = One()
    one.fresh.counts = who != "we"
    one.answered(one.answer(one.ask(0.0), counts=who != "it"))
    soon = limits.compare_again_seconds
    assert bool(one.comparing.due(soon)) == (who != "both count")


def test_a_new_life_begins_anew() -> None:
    """What was known of the last one, and was to come of it, is worth nothing."""
    one = One()
    one.here.update(ids(1, 2))
    one.answered(one.answer(one.ask(0.0), ids(1, 2, 3)), 0.0)
    question = one.ask(1.0)
    assert question.number == 2
    found = one.answered(one.answer(question, ids(7, 1), life=NEXT, number=0), 1.0)
    assert found.lacking == list(ids(7))
    assert one.since == NEVER
    question = one.ask(1.1)
    assert (question.life, question.number) == (NEXT, 0)
    one.here.update(ids(7))
    one.answered(one.answer(question, ids(7, 1), life=NEXT), 1.1)
    assert one.since == 1.1


def test_what_was_to_come_of_one_life_does_not_come_with_another() -> None:
    """Though that has as many, and they are here."""
    one = One()
    one.here.update(ids(7))
    one.answered(one.answer(one.ask(0.0), ids(1)), 0.0)
    one.answered(one.answer(one.ask(1.0), ids(7, 8), life=NEXT, number=0), 1.0)
    assert one.since == NEVER
    one.comparing.synced(YOU, AcceptLogSummary(LIFE, 7, b"others' ", counts=True, wall=WALL), 1.0)
    assert one.since == NEVER


def test_a_question_about_another_life_is_answered_from_the_beginning() -> None:
    """Whatever number it has."""
    other = One(1, life=LIFE)
    other.accept(1, 2, 3)
    answer = other.comparing.answer(AcceptLogRequest(b"12345678", NEXT, 2), WALL)
    assert (answer.number, answer.ids, answer.life) == (0, ids(1, 2, 3), LIFE)
    answer = other.comparing.answer(AcceptLogRequest(b"12345678", LIFE, 2), WALL)
    assert (answer.number, answer.ids, answer.head) == (2, ids(3), 3)
    assert answer.nonce == b"12345678"


@pytest.mark.parametrize("number", [4, 2**64 - 1])
def test_who_asks_for_what_is_to_come_is_told_that_there_is_none(number: int) -> None:
    """A head that is less than what it says."""
    other = One(1, life=LIFE)
    other.accept(1, 2, 3)
    answer = other.comparing.answer(AcceptLogRequest(bytes(8), LIFE, number), WALL)
    assert (answer.number, answer.head, answer.ids) == (3, 3, ())


def test_who_lacks_many_syncs_over_a_stream() -> None:
    """And goes on from what the other had when the sync began, compared as of its beginning."""
    one, other = One(), One(1, life=LIFE)
    count = limits.compare_pages_max * limits.answer_ids_max + 1
    other.accept(*range(1, count + 1))
    answer = other.comparing.answer(one.ask(0.0), WALL)
    assert (answer.number, answer.ids) == (count, ())
    assert one.answered(answer, 0.0) == SyncPlan(needs_sync=True)
    assert one.since == NEVER
    assert one.comparing.due(limits.compare_seconds - 0.01) == []
    word = other.comparing.summary(WALL)
    assert word == AcceptLogSummary(LIFE, count, other.fresh.digest, counts=True, wall=WALL)
    one.here |= other.here
    one.comparing.synced(YOU, word, 0.5)
    assert one.since == 0.5
    other.accept(count + 1)
    question = one.ask(1.0)
    assert question.number == count
    answer = other.comparing.answer(question, WALL)
    assert one.answered(answer, 1.0).lacking == list(ids(count + 1))


def test_a_sync_counts_as_of_its_beginning_whatever_was_to_come_before() -> None:
    """However many questions have waited for the same."""
    one, other = One(), One(1, life=LIFE)
    other.accept(1)
    for turn in range(limits.compare_heads_max + 2):
        now = turn * 0.5
        one.answered(other.comparing.answer(one.ask(now), WALL), now)
    one.here.update(ids(1))
    one.comparing.synced(YOU, other.comparing.summary(WALL), 9.0)
    assert one.since == 9.0


def test_an_answer_that_a_sync_has_overtaken_is_no_reason_for_another() -> None:
    """What it tells of is here; what it tells beyond is not."""
    one, other = One(), One(1, life=LIFE)
    other.accept(1, 2)
    one.answered(one.answer(one.ask(0.0), ids(9)), 0.0)
    question = one.ask(1.0)
    one.here.update(ids(1, 2))
    one.comparing.synced(YOU, other.comparing.summary(WALL), 1.0)
    other.accept(3)
    answer = other.comparing.answer(question, WALL)
    assert answer.number == 0
    assert one.answered(answer, 1.1) == SyncPlan(list(ids(3)))
    assert one.ask(1.2).number == 2


def test_the_word_of_an_earlier_life_does_not_hold_up_the_next() -> None:
    """A sync that took long, with one who has restarted meanwhile."""
    one = One()
    one.answered(one.answer(one.ask(0.0), life=NEXT), 0.0)
    one.comparing.synced(
        YOU, AcceptLogSummary(LIFE, 7, one.fresh.digest, counts=True, wall=WALL), 0.0
    )
    question = one.ask(1.0)
    one.answered(one.answer(question, life=NEXT, number=0), 1.0)
    assert one.since == 1.0


@pytest.mark.parametrize(("counts", "members"), [(False, b""), (True, b"others' ")])
def test_a_sync_with_one_who_does_not_count_is_no_comparison(counts: bool, members: bytes) -> None:
    """Nor with one who has other members."""
    one = One()
    word = AcceptLogSummary(LIFE, 0, members or one.fresh.digest, counts=counts, wall=WALL)
    one.comparing.synced(YOU, word, 0.0)
    one.comparing.synced(member_id(9), word, 0.0)
    assert one.since == NEVER


@pytest.mark.parametrize(("life", "head"), [(LIFE, -1), (b"seven  ", 0), (b"nine     ", 0)])
def test_a_word_that_nobody_says_is_not_read(life: bytes, head: int) -> None:
    """There is no question to be asked about it."""
    word = msgspec.msgpack.encode(AcceptLogSummary(life, head, bytes(8), counts=True, wall=WALL))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(word, type=AcceptLogSummary)


def test_what_has_expired_is_counted_and_not_fetched() -> None:
    """Nobody could hand it over: whoever joined would lack it for ever."""
    one, other = One(), One(1, life=LIFE)
    other.accept(1, 2, 3)
    other.here.difference_update(ids(1, 3))
    answer = other.comparing.answer(one.ask(0.0), WALL)
    assert answer.ids == (OVER, *ids(2), OVER)
    assert one.answered(answer, 0.0).lacking == list(ids(2))
    one.here.update(ids(2))
    answer = other.comparing.answer(one.ask(0.1), WALL)
    assert one.answered(answer, 0.1) == SyncPlan()
    assert one.since == 0.1


def test_who_joins_is_asked_at_once_and_who_goes_is_not_asked_again() -> None:
    """Whether anybody says so or the members are others all at once."""
    one = One()
    one.answered(one.answer(one.ask(0.0)), 0.0)
    one.fresh.merge([THIRD], [THIRD])
    assert dict(one.comparing.due(0.1)).keys() == {THIRD}
    one.fresh.drop(YOU)
    one.fresh.drop(THIRD)
    assert one.comparing.due(9.0) == []
    assert one.comparing.next_at == float("inf")


def test_a_thousand_members_are_asked_one_after_the_other() -> None:
    """No more a second than that, be they there or not; and no burst at the beginning."""
    one, asked = One(count=1000), 0
    for tick in range(60):
        asked += len(one.comparing.due(tick * 0.1))
        assert asked <= (tick * 0.1 + 0.01) * limits.compare_members_each + 1
    assert asked > 2500
    assert len(one.comparing._schedule) <= 1000


def test_the_median_of_the_clocks() -> None:
    """Ours among them, as each was when it last answered; one liar moves nobody."""
    one = One(count=4)
    assert one.comparing.clock_offset == 0
    for index, (_, data) in enumerate(sorted(one.comparing.due(1.0))):
        question = decode(data)
        assert isinstance(question, AcceptLogRequest)
        wall = (WALL + 40, WALL + 50, 2**40 - 1)[index]
        sender = sorted(one.fresh.others)[index]
        one.comparing.answered(sender, one.answer(question, wall=wall), 1.0, WALL)
    assert one.comparing.clock_offset == 45


def test_a_liar_without_end_keeps_only_itself_from_being_compared_with() -> None:
    """Its head is beyond all that it tells, for ever; what is kept of it is bounded."""
    one = One(count=3)
    one.here.update(ids(1))
    for tick in range(50):
        for member, data in one.comparing.due(tick * 0.5):
            question = decode(data)
            assert isinstance(question, AcceptLogRequest)
            told = (ids(1), 2**64 - 1) if member == YOU else ((), None)
            answer = one.answer(question, told[0], head=told[1])
            one.comparing.answered(member, answer, tick * 0.5, WALL)
    assert one.fresh.until(STALENESS) > 24.5
    assert len(one.comparing._others[YOU].heads) == limits.compare_heads_max
