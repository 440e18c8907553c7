"""The files answer who called what, under which grant, at what cost: all of it, and only that."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, burned, deny, grant, opening, permit, rule_step
from hypothesis import given
from hypothesis import strategies as st

from crewgate.audit.explanation import explanation
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.folder import create
from crewgate.audit.queries import AuditQueries
from crewgate.audit.query_results import CallRow, MintingWatchEvent, RecordedRuleStep
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import (
    BurnedReservationRecord,
    CallOutcome,
    CallRecord,
    Record,
    RefusalsRecord,
    RevocationRecord,
    RuleStepRecord,
    ServiceEvent,
    StreamOpened,
    WatchRecord,
)
from crewgate.core.reasons import Reason

AFTERNOON: list[Record] = [
    permit(1, ROOT, "lead", "publish.post", 10_000),
    permit(2, CHILD, "researcher", "search.web", 20_000),
    permit(3, CHILD, "researcher", "search.web.deep", 0, would="tool-not-allowed"),
    deny(4, CHILD, "researcher", "publish.post", "tool-not-allowed"),
    permit(5, OTHER, "drafter", "embeddings.create", 10_000, outcome=CallOutcome.CLIENT_GONE),
    permit(6, OTHER, "drafter", "search.web", 5_000, crew="finance"),
    opening(7, CHILD, "researcher", "summary.stream", "request-open"),
    opening(8, CHILD, "researcher", "summary.stream", "request-2"),
    opening(9, OTHER, "drafter", "summary.stream", "request-burned"),
    burned(10, OTHER, "drafter", "summary.stream", "request-burned"),
    RefusalsRecord(
        time=NOON,
        listener="agents",
        reason="invalid-token",
        peer="192.0.2.0/24",
        count=7,
        first=NOON,
        last=NOON + timedelta(seconds=9),
    ),
    ServiceEvent(time=NOON, event="audit-recovered", count=3),
    ServiceEvent(time=NOON, event="start", count=100),
]


def put(folder: Path, records: list[Record], process: str = "worker-1", junk: bytes = b"") -> Path:
    """One finished file with these records."""
    descriptor, path = create(folder, process, 1_800_000_000_000_000_000)
    os.write(descriptor, b"".join(map(encode, records)) + junk)
    os.close(descriptor)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The afternoon, in the files of two workers; one was killed in the middle of a line."""
    put(tmp_path, AFTERNOON[:4], junk=b'{"kind":"call","time":"2026-11')
    put(tmp_path, AFTERNOON[4:], "worker-2", junk=b"\x00\xff\x00")
    return tmp_path


@pytest.fixture
def audit(folder: Path) -> Iterator[AuditQueries]:
    """An engine over the afternoon."""
    engine = AuditQueries(folder)
    yield engine
    engine.close()


def seconds(rows: list[CallRow]) -> list[int]:
    """Which of the afternoon's records these are."""
    return [int((row.time - NOON).total_seconds()) for row in rows]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (AuditFilter(), [1, 2, 3, 4, 5, 6, 7, 10]),
        (AuditFilter(limit=3), [6, 7, 10]),
        (AuditFilter(limit=0), []),
        (AuditFilter(branch=CHILD), [2, 3, 4, 7]),
        (AuditFilter(branch=ROOT), [1, 2, 3, 4, 7]),
        (AuditFilter(branch=str(UUID(int=1))), []),
        (AuditFilter(crew="finance"), [6]),
        (AuditFilter(role="drafter"), [5, 6, 10]),
        (AuditFilter(tool="search.web"), [2, 6]),
        (AuditFilter(tool="search.*"), [2, 3, 6]),
        (AuditFilter(grant="grant-drafter"), [5, 6, 10]),
        (AuditFilter(subject="user_1"), [1, 2, 3, 4, 5, 6, 7, 10]),
        (AuditFilter(subject="user_2"), []),
        (AuditFilter(process="pid_1", orchestrator="finance/one"), [6]),
        (AuditFilter(request="request-5"), [5]),
        (AuditFilter(request="request-burned"), [10]),
        (AuditFilter(denied=True), [4]),
        (AuditFilter(would_deny=True), [3]),
        (AuditFilter(since=NOON + timedelta(seconds=6)), [6, 7, 10]),
        (AuditFilter(role="researcher", tool="publish.post"), [4]),
        (AuditFilter(role="' OR 1=1 --"), []),
        (AuditFilter(crew="article'; COPY lines TO '/x"), []),
    ],
)
def test_filters(audit: AuditQueries, question: AuditFilter, found: list[int]) -> None:
    """Each filter narrows; a branch brings what it spawned; texts are values, never SQL."""
    assert seconds(audit.calls(question)) == found


def test_a_row_says_all_that_the_record_said(audit: AuditQueries) -> None:
    """Who, what, under which grant, at what cost, and how it ended."""
    [row] = audit.calls(AuditFilter(tool="search.web", crew="article"))
    assert (row.crew, row.orchestrator, row.process) == ("article", "article/one", "pid_1")
    assert (row.branch, row.ancestry, row.role) == (CHILD, [ROOT], "researcher")
    assert (row.grant, row.subject, row.request) == ("grant-researcher", "user_1", "request-2")
    assert (row.verdict, row.outcome, row.cost_micro) == ("permit", "done", 20_000)
    assert row.quota_micro == 2_500_000


def test_an_open_stream_is_listed_until_it_ends(audit: AuditQueries) -> None:
    """Its opening record stands alone; that of an ended or burned stream is not shown twice."""
    [row] = [row for row in audit.calls(AuditFilter()) if row.outcome == "open"]
    assert (row.request, row.cost_micro) == ("request-open", 0)


def test_a_burned_reservation_is_listed_with_its_cause(audit: AuditQueries) -> None:
    """Credit that died with a process is somebody's: the branch's, with the reason."""
    [row] = [row for row in audit.calls(AuditFilter()) if row.outcome == "burned"]
    assert (row.reason, row.cost_micro, row.branch) == ("owner-died", 10_000, OTHER)


def test_sums_by_branch_are_one_per_crew_and_branch(audit: AuditQueries) -> None:
    """The most expensive first; another crew's branch of the same id is another branch."""
    groups = audit.groups(AuditFilter(), GroupBy.BRANCH)
    assert [(g.crew, g.key, g.cost_micro, g.burned_micro) for g in groups] == [
        ("article", CHILD, 20_000, 0),
        ("article", OTHER, 10_000, 10_000),
        ("article", ROOT, 10_000, 0),
        ("finance", OTHER, 5_000, 0),
    ]
    child = groups[0]
    assert (child.role, child.parent) == ("researcher", ROOT)
    assert (child.calls, child.permitted, child.denied) == (3, 2, 1)
    assert (child.would_deny, child.open) == (1, 1)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (GroupBy.CREW, {"article", "finance"}),
        (GroupBy.ROLE, {"lead", "researcher", "drafter"}),
        (
            GroupBy.TOOL,
            {
                "publish.post",
                "search.web",
                "search.web.deep",
                "embeddings.create",
                "summary.stream",
            },
        ),
    ],
)
def test_other_groupings(audit: AuditQueries, by: GroupBy, keys: set[str]) -> None:
    """Every call is in exactly one group, so the groups' sums are the total's."""
    groups = audit.groups(AuditFilter(), by)
    total = audit.total(AuditFilter())
    assert {group.key for group in groups} == keys
    assert sum(group.calls for group in groups) == total.calls == 6
    assert sum(group.cost_micro for group in groups) == total.cost_micro == 45_000
    assert total.burned_micro == 10_000


def test_strangers_and_losses_are_told(audit: AuditQueries) -> None:
    """What no line can attribute, and how much is missing, is part of the answer."""
    [refused] = audit.refusals()
    assert (refused.reason, refused.count, refused.peer) == ("invalid-token", 7, "192.0.2.0/24")
    health = audit.health()
    assert (health.files, health.lost_records, health.unreadable_lines) == (2, 3, 2)


def test_nothing_yet_is_an_empty_answer(tmp_path: Path) -> None:
    """Before the first record there is no error, and every sum is 0."""
    audit = AuditQueries(tmp_path / "none")
    assert audit.calls(AuditFilter()) == []
    assert audit.total(AuditFilter()).calls == 0
    assert audit.refusals() == []
    assert audit.health().files == 0


def test_a_folder_named_like_a_pattern_is_only_itself(folder: Path, tmp_path: Path) -> None:
    """`[`, `*` and `?` in a path are characters of it: no other folder's files are read."""
    odd = tmp_path / "a[1]*?"
    odd.mkdir()
    put(odd, AFTERNOON[:1])
    shutil.copytree(folder, tmp_path / "a1xx", ignore=shutil.ignore_patterns("a*"))
    assert seconds(AuditQueries(odd).calls(AuditFilter())) == [1]


def test_files_that_ended_before_are_not_even_opened(folder: Path, audit: AuditQueries) -> None:
    """`--since` skips old files by their time of change, so that it is fast on a long history."""
    old = audit._files(None)
    for name in old:
        os.utime(name, (1, 1))
    assert audit._files(NOON) == [os.devnull]
    assert audit.calls(AuditFilter(since=NOON)) == []


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (CallRecord, CallRow),
        (StreamOpened, CallRow),
        (BurnedReservationRecord, CallRow),
        (WatchRecord, MintingWatchEvent),
        (RuleStepRecord, RecordedRuleStep),
    ],
)
def test_every_field_of_a_record_can_be_asked(
    kind: type[msgspec.Struct], row: type[msgspec.Struct]
) -> None:
    """A field added to the records is noticed here if the reader does not answer with it."""
    unread = {"price_micro", "started", "branch_key", "grant_key", "owner", "intent"}
    unread |= {"level_used_micro", "level_quota_micro"}
    unread |= {"cause"}  # a row has it as its `reason`
    unread |= {"machine"} if kind is WatchRecord else set()
    assert set(kind.__struct_fields__) - unread <= set(row.__struct_fields__)


def test_the_watch_is_asked_by_crew_branch_and_time(tmp_path: Path) -> None:
    """Newest last, at most as many as are asked for; calls and other kinds are not among them."""
    strike = {"was": "observe", "level": "throttle", "in_force": "observe", "by": "watch"}
    found = {"measure": "depth", "value": 7, "limit": 4, "usual": 1, "branch": CHILD}
    put(
        tmp_path,
        [
            *AFTERNOON,
            WatchRecord(
                time=NOON, crew="bd", orchestrator="bd/one", step="lifted",
                was="quarantine", level="observe", in_force="observe", by="owner",
            ),
            WatchRecord(
                time=NOON + timedelta(seconds=5), crew="article", orchestrator="article/one",
                step="strike", **strike, **found,
            ),
        ],
    )  # fmt: skip
    audit = AuditQueries(tmp_path)
    lifted, struck = audit.watched(AuditFilter())
    assert (lifted.orchestrator, lifted.measure, lifted.usual) == ("bd/one", "", None)
    assert (struck.measure, struck.value, struck.limit, struck.usual) == ("depth", 7, 4, 1)
    assert audit.watched(AuditFilter(limit=1)) == [struck]
    assert audit.watched(AuditFilter(crew="bd")) == [lifted]
    assert audit.watched(AuditFilter(branch=CHILD)) == [struck]
    assert audit.watched(AuditFilter(since=NOON + timedelta(seconds=1))) == [struck]


def test_steps_of_rules_are_asked_by_crew_branch_and_time(tmp_path: Path) -> None:
    """A branch has its own steps, those below it, and those that its calls caused above it."""
    own = rule_step(3, CHILD, "researcher", "same-call", "refuse", 10)
    above = rule_step(4, ROOT, "", "same-call", "refuse", 10, caller=CHILD)
    other = rule_step(5, OTHER, "drafter", "rate", "warn", 60, crew="bd")
    put(tmp_path, [*AFTERNOON, own, above, other])
    audit = AuditQueries(tmp_path)
    assert [each.branch for each in audit.rule_steps(AuditFilter())] == [CHILD, ROOT, OTHER]
    assert [each.rule for each in audit.rule_steps(AuditFilter(crew="bd"))] == ["rate"]
    for branch in (ROOT, CHILD):
        found = audit.rule_steps(AuditFilter(branch=branch))
        assert [each.branch for each in found] == [CHILD, ROOT]
    assert [each.branch for each in audit.rule_steps(AuditFilter(limit=1))] == [OTHER]
    later = AuditFilter(since=NOON + timedelta(seconds=5))
    assert [each.branch for each in audit.rule_steps(later)] == [OTHER]
    assert audit.rule_steps(AuditFilter())[1].finding.level == 1


def test_what_an_earlier_version_wrote_of_the_watch_is_read_in_new_words(tmp_path: Path) -> None:
    """`level` was `rung`, and the step `remote` was `told`; old lines stand among new ones."""
    old = (
        b'{"kind":"watch","time":"2025-01-01T12:00:00Z","crew":"bd","orchestrator":"bd/one",'
        b'"step":"told","was":"observe","rung":"quarantine","in_force":"quarantine",'
        b'"by":"gateway/gw-2","branch":"","measure":"","value":0,"limit":0,"usual":null}\n'
    )
    lifted = WatchRecord(
        time=NOON, crew="bd", orchestrator="bd/one", step="lifted",
        was="quarantine", level="observe", in_force="observe", by="owner",
    )  # fmt: skip
    put(tmp_path, [lifted], junk=old)
    audit = AuditQueries(tmp_path)
    rows = [(row.step, row.was, row.level) for row in audit.watched(AuditFilter())]
    assert rows == [("remote", "observe", "quarantine"), ("lifted", "quarantine", "observe")]
    assert audit.health().unreadable_lines == 0


def test_other_kinds_do_not_disturb(tmp_path: Path) -> None:
    """A revocation has a branch and a crew, and is no call."""
    put(
        tmp_path,
        [RevocationRecord(**who_nobody(), time=NOON, target="branch", id=CHILD, by="uid 0")],
    )
    assert AuditQueries(tmp_path).total(AuditFilter()).calls == 0


def who_nobody() -> dict[str, str]:
    """An identity without names."""
    return dict.fromkeys(["crew", "orchestrator", "process", "role", "branch"], "")


@given(st.text(st.characters(codec=None) | st.sampled_from("\n\r\x00\"'\\{}\x1b"), max_size=20))
def test_a_hostile_text_is_found_as_itself(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """What the writer wrote, however odd, the reader reads back, as one row."""
    folder = tmp_path_factory.mktemp("odd")
    put(folder, [permit(1, ROOT, text, "search.web", 1), permit(2, ROOT, "x", "search.web", 1)])
    audit = AuditQueries(folder)
    rows = audit.calls(AuditFilter())
    expected = json.loads(encode(permit(1, ROOT, text, "search.web", 1)))["role"]
    assert [row.role for row in rows] == [expected, "x"]
    audit.close()


def test_reasons_fit_the_column() -> None:
    """The slugs that a refusal may carry are what the reader shows."""
    assert all(reason.value.isascii() for reason in Reason)


def explained(folder: Path, request: str) -> list[tuple[str, int | None, str | None]]:
    """The branches behind a call: id, the quota that its grant states, and the grant found."""
    audit = AuditQueries(folder)
    found = explanation(audit, AuditFilter(request=request))
    audit.close()
    assert found is not None
    assert found.call.request == request
    return [
        (each.branch, each.stated_micro, each.grant.grant if each.grant else None)
        for each in found.branches
    ]


def test_a_call_is_explained_by_its_own_grant_and_the_newest_above(tmp_path: Path) -> None:
    """Later grants of the run, second lines, and grants of other crews change nothing."""
    own = grant(CHILD, "researcher", 50, path_quota_micro=(10_000_000,))
    records = [
        grant(ROOT, "lead", 0, who={"grant": "first"}),
        grant(ROOT, "lead", 40, who={"grant": "second"}),
        grant(ROOT, "lead", 90, who={"grant": "third"}),
        grant(ROOT, "lead", 45, crew="finance", who={"grant": "other"}),
        grant(CHILD, "researcher", 60, who={"grant": "not-used"}),
        own,
        own,
        permit(70, CHILD, "researcher", "search.web", 10_000),
    ]
    put(tmp_path, records)
    assert explained(tmp_path, "request-70") == [
        (ROOT, 10_000_000, "second"),
        (CHILD, 2_500_000, "grant-researcher"),
    ]


def test_grants_that_share_an_id_are_counted(tmp_path: Path) -> None:
    """A signer cannot hide what it allowed behind a newer grant with the same id."""
    wide = grant(CHILD, "researcher", 40, who={"subject": "another"})
    newest = grant(CHILD, "researcher", 50)
    put(tmp_path, [newest, wide, newest, permit(70, CHILD, "researcher", "search.web", 10_000)])
    audit = AuditQueries(tmp_path)
    found = explanation(audit, AuditFilter(request="request-70"))
    audit.close()
    assert found is not None
    assert found.same_id_grants == 2
    own = found.branches[-1].grant
    assert own is not None
    assert own.issued == newest.issued


def test_what_this_machine_has_not_recorded_is_said(tmp_path: Path) -> None:
    """An ancestor that never called here has only a quota; an old audit has not even that."""
    put(
        tmp_path,
        [
            permit(1, CHILD, "researcher", "search.web", 10_000),
            permit(2, OTHER, "drafter", "search.web", 10_000),
            grant(CHILD, "researcher", 0, path_quota_micro=(7,)),
        ],
    )
    assert explained(tmp_path, "request-1") == [
        (ROOT, 7, None),
        (CHILD, 2_500_000, "grant-researcher"),
    ]
    assert explained(tmp_path, "request-2") == [(OTHER, None, None)]
    audit = AuditQueries(tmp_path)
    assert explanation(audit, AuditFilter(request="request-9")) is None
    audit.close()
