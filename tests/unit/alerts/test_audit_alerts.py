"""Which records of the audit a person hears of, and in which words."""

from pathlib import Path
from uuid import UUID

import pytest
from alert_fakes import BRANCH, LOCAL, NOW, entry

from crewgate.alerts.alert import Alert, AlertState
from crewgate.alerts.audit_alerts import alerts_of, may_be_alert
from crewgate.alerts.budget_watch import BudgetWatch
from crewgate.audit.writer import AuditWriter
from crewgate.core.alert_kinds import AlertSeverity
from crewgate.core.audit import records
from crewgate.core.audit.json_line import encode
from crewgate.core.ids import branch_key
from crewgate.core.rules.rule import RuleKind
from crewgate.ipc.admin_messages import TreeRow

WHO = {"crew": "article", "orchestrator": "article/a", "process": "p", "role": "researcher"}


def one(**members: object) -> Alert:
    (found,) = alerts_of([entry(**members)], LOCAL)
    return found


def test_only_lines_that_may_be_alerts_are_decoded() -> None:
    """The lines that Crewgate writes: nearly all of them are calls."""
    time = records.when(0)
    who = {"crew": "c", "orchestrator": "c/o", "process": "", "role": "r", "branch": "b"}
    lines = [
        records.RevocationRecord(**who, time=time, target="branch", id="b", by="owner"),
        records.ServiceEvent(time=time, event="audit-lost", count=2),
        records.RuleStepRecord(
            **who, time=time, rule="loops", rule_kind="same-call", step="end", mode="enforce",
            count=20, limit=20,
        ),
        records.WatchRecord(
            time=time, crew="c", orchestrator="c/o", step="struck-out", was="observe",
            level="quarantine", in_force="quarantine",
        ),
        records.BurnedReservationRecord(
            **who, time=time, started=time, request=str(UUID(int=1)), tool="t", cost_micro=1,
            cause="owner-died", branch_key="", grant_key="", owner=0,
        ),
    ]  # fmt: skip
    others = [
        records.ServiceEvent(time=time, event="agent", detail="ready"),
        records.ServiceEvent(time=time, event="agent", detail='a "audit-lost" here'),
    ]
    assert [may_be_alert(encode(each)) for each in lines] == [True] * 5
    assert [may_be_alert(encode(each)) for each in others] == [False] * 2
    assert may_be_alert(b'{"kind":"rule","rule":"loops"}')
    assert may_be_alert(b'{"machine":"gw-1","kind":"rule","rule":"loops"}')
    assert not may_be_alert(b'{"machine":"gw-1","kind":"call","tool":"rule"}')


def test_lines_are_known_as_they_are_written(tmp_path: Path) -> None:
    """With the name of the machine before the kind."""
    writer = AuditWriter(tmp_path, "agent", machine="gw-1")
    writer.write(records.ServiceEvent(time=records.when(0), event="agent"))
    writer.write(records.ServiceEvent(time=records.when(0), event="audit-lost", count=2))
    writer.close()
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines()
    assert [may_be_alert(line) for line in lines] == [False, True]


def rule(**changes: object) -> dict[str, object]:
    return {
        "kind": "rule", "branch": BRANCH, "rule": "loops", "rule_kind": "same-call",
        "step": "end", "mode": "enforce", "count": 20, "limit": 20, "tool": "search.web",
        "request": "r", "caller": BRANCH, **WHO, **changes,
    }  # fmt: skip


def test_a_step_of_a_rule() -> None:
    """With the numbers, and the command that shows the calls."""
    found = one(**rule())
    assert found.type == "rule"
    assert found.severity is AlertSeverity.CRITICAL
    assert found.subject == f"branch/{BRANCH}"
    assert found.text == (
        f"rule loops has ended branch {BRANCH} (researcher of crew article): the same call 20 "
        "times, the last one of search.web; the limit is 20"
    )
    assert found.next == f"look at its calls: `crewgate audit -c {LOCAL.path} --branch {BRANCH}`"
    assert found.data["limit"] == 20
    assert found.crew == "article"


@pytest.mark.parametrize(
    ("step", "severity", "words"),
    [("warn", "warning", "has warned"), ("refuse", "critical", "refuses calls of")],
)
def test_an_earlier_step_can_still_be_ended(step: str, severity: str, words: str) -> None:
    found = one(**rule(step=step))
    assert found.severity.value == severity
    assert f"rule loops {words} branch" in found.text
    assert f"to end it: `crewgate revoke -c {LOCAL.path} --crew article {BRANCH}`" in found.next


def test_each_kind_of_rule_has_words() -> None:
    """And credits are credits; a kind of a later version is shown as it is."""
    for kind in RuleKind:
        assert kind.value not in one(**rule(rule_kind=kind.value)).text
    found = one(**rule(rule_kind="credits-per-minute", count=2_500_000, limit=1_000_000)).text
    assert "2.50 credits in a minute; its last call was of search.web; the limit is 1.00" in found
    assert "20 by the count new-kind" in one(**rule(rule_kind="new-kind")).text


def test_a_rule_that_only_observes_says_would() -> None:
    found = one(**rule(mode="observe"))
    assert "rule loops would end branch" in found.text
    assert found.severity is AlertSeverity.WARNING
    assert "to end it" in found.next


def test_a_rule_that_only_observes_does_warn() -> None:
    """The calls of the branch get the warning, so the alert says no `would`."""
    assert "rule loops has warned branch" in one(**rule(step="warn", mode="observe")).text


def test_a_step_is_told_once_an_hour() -> None:
    """A branch that repeats a call four times, does something else, and so on, is one alert."""
    found = [one(**rule(step="warn"), offset=at, time=f"2026-11-30T{hour}:{at:02}:00.5Z")
             for hour in (12, 13) for at in range(60)]  # fmt: skip
    assert len({each.id for each in found}) == 2
    others = [{}, {"step": "refuse"}, {"rule": "x"}, {"branch": "b"}, {"crew": "c"}]
    assert len({one(**rule(**each)).id for each in others}) == len(others)


def test_steps_are_told_in_their_order() -> None:
    """Also if two workers have recorded them, so that the file with the last step comes first."""
    steps = [
        entry(**rule(step=step), time=f"2026-11-30T12:00:0{second}.5Z")
        for second, step in enumerate(("warn", "refuse", "end"))
    ]
    told = [each.data["step"] for each in alerts_of([steps[2], steps[0], steps[1]], LOCAL)]
    assert told == ["warn", "refuse", "end"]


def test_the_end_of_a_branch_has_one_id_on_all_machines() -> None:
    """A machine that heard of it from another one knows less."""
    members = {"kind": "revocation", "target": "branch", "id": BRANCH, "branch": BRANCH, **WHO}
    here = one(**members, by="rule/loops", reason="same-call 20", cuts=2)
    there = one(**members, by="gateway/gw-1")
    # A machine that has never seen the branch knows its key.
    unseen = {"id": branch_key("article", BRANCH).hex(), "branch": "", "by": "gateway/gw-1"}
    far = one(**(members | unseen))
    assert here.id == there.id == far.id
    assert (here.origin, there.origin, far.origin) == ("", "gw-1", "gw-1")
    assert (here.is_shared, there.is_shared) == (False, True)
    assert here.severity is AlertSeverity.INFO
    assert one(**members, by="overrun").severity is AlertSeverity.WARNING
    assert here.text == (
        f"branch {BRANCH} (researcher of crew article) has ended: rule loops revoked it "
        "(same-call 20); 2 calls ended with it"
    )
    person = one(**members, by="operator/ada", cuts=1)
    assert person.severity is AlertSeverity.INFO
    assert person.text.endswith("has ended: operator ada revoked it; 1 call ended with it")


def test_the_end_of_an_orchestrator_can_come_again_on_another_day() -> None:
    """A certificate or a key that ends belongs to its holder, of which there is a record."""
    members = {"kind": "revocation", "target": "orchestrator", "id": "article/a", "by": "owner"}
    first = one(**members, crew="article")
    assert first.type == "access-ended"
    assert first.id != one(**members, crew="article", time="2026-12-01T00:00:00Z").id
    assert not [*alerts_of([entry(**(members | {"target": "certificate"}))], LOCAL)]


def test_a_quarantine_begins_and_is_over() -> None:
    """A strike that changes nothing is no alert."""
    members = {"kind": "watch", "crew": "article", "orchestrator": "article/a", "by": "watch"}
    begins = one(**members, step="struck-out", was="throttle", level="quarantine",
                 in_force="quarantine", measure="fan-out", value=99, limit=10)  # fmt: skip
    assert (begins.state, begins.severity) == (AlertState.BEGINS, AlertSeverity.CRITICAL)
    assert begins.text == (
        "orchestrator article/a is quarantined (struck-out): fan-out is 99, and 10 is the limit"
    )
    assert f"`crewgate quarantine -c {LOCAL.path} article/a --lift`" in begins.next
    over = one(**members, step="lifted", was="quarantine", level="observe", in_force="observe")
    assert (over.state, over.subject) == (AlertState.OVER, begins.subject)
    same = entry(**members, step="strike", was="throttle", level="throttle", in_force="throttle")
    assert not [*alerts_of([same], LOCAL)]


def test_a_quarantine_of_another_machine_is_told_there() -> None:
    found = one(kind="watch", crew="article", orchestrator="article/a", by="gateway/gw-2",
                step="remote", was="observe", level="quarantine",
                in_force="quarantine")  # fmt: skip
    assert found.origin == "gw-2"


def test_a_quarantine_that_is_not_enforced_says_so() -> None:
    found = one(kind="watch", crew="article", orchestrator="article/a", by="watch",
                step="struck-out", was="observe", level="quarantine",
                in_force="observe")  # fmt: skip
    assert "mode observe, so nothing is refused" in found.text
    assert found.severity is AlertSeverity.INFO


def test_burned_credits_of_a_crew_are_one_alert() -> None:
    """A worker that dies burns the credit of all its calls."""
    burned = [
        entry(
            number,
            kind="burned",
            cost_micro=500_000,
            cause="owner-died",
            branch=f"b-{number}",
            **WHO,
        )
        for number in range(40)
    ]
    other = entry(99, kind="burned", cost_micro=1, cause="deadline", **(WHO | {"crew": "other"}))
    first, second = alerts_of([*burned, other], LOCAL)
    assert first.text == (
        "20.00 credits of crew article were charged for 40 calls whose cost is unknown (owner-died)"
    )
    assert len(first.data["branches"]) == 16
    assert (second.crew, second.data["calls"]) == ("other", 1)


def test_credits_that_do_not_cover_a_call_are_one_alert() -> None:
    """With the id of the threshold that the branch may never reach."""
    members = {
        "kind": "call", "verdict": "deny", "reason": "credits-exhausted", "level": "run",
        "level_used_micro": 9_800_000, "level_quota_micro": 10_000_000, "branch": "child",
        "ancestry": ["run"], **WHO,
    }  # fmt: skip
    (found,) = alerts_of([entry(number, **members) for number in range(9)], LOCAL)
    assert (found.type, found.subject, found.percent) == ("run-credits", "branch/run", 100)
    assert (
        "has spent or reserved 9.80 of 10.00 credits: the rest does not cover a call" in found.text
    )
    assert found.text.startswith("run run (crew article)"), "whose role the record does not have"
    own = one(**(members | {"level": "child"}))
    assert own.text.startswith(f"branch child ({WHO['role']} of crew article) has spent")
    row = TreeRow("article", "run", "live", quota=10_000_000, spent=10_000_000)
    (full,) = BudgetWatch(LOCAL, (100,), {}, {}).update([row], NOW).alerts
    assert full.id == found.id
    assert one(**(members | {"level": "child"})).type == "branch-credits"
    assert may_be_alert(b'{"machine":"m","kind":"call","reason":"credits-exhausted"}')


def test_a_lossy_crash() -> None:
    found = one(kind="event", event="audit-lost", count=3)
    assert found.text == "the machine has crashed, and the audit lacks calls of 3 branches"


def test_a_record_of_another_version_is_no_trouble() -> None:
    """Members may be missing, or of another type."""
    odd = [
        {"kind": kind} for kind in ("rule", "revocation", "watch", "burned", "event", "call", "new")
    ]
    wrong = {"branch": 7, "count": "x", "crew": None, "cost_micro": [], "ancestry": 5, "level": "b"}
    odd += [each | wrong for each in odd]
    for members in odd:
        for found in alerts_of([entry(**members)], LOCAL):
            assert found.document()


def test_a_name_cannot_hide_control_characters() -> None:
    found = one(**rule(role="a\x1b[31mb"))
    assert "\x1b" not in found.text
    assert str(Path(LOCAL.path)) in found.next
