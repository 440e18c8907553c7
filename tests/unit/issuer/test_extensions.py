"""Requests for more time, credits and tools: who decides, what is written, what a crash leaves."""

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from issuer_world import Clock

from crewgate import limits
from crewgate.errors import BranchRevokedError, ExtensionRefusedError, IssuerError
from crewgate.issuer import (
    ExtensionDecision,
    ExtensionRequest,
    Minter,
    Orchestrator,
    SubAgent,
    read_claims,
)
from crewgate.issuer.extensions.extension_endpoint import answer_extension_request
from crewgate.issuer.token_files.token_file import read_token
from crewgate.issuer.token_files.token_file_renewer import TokenFileRenewer

HOUR = 3600


class Make(Protocol):
    def __call__(self, **parts: Any) -> Orchestrator: ...


def limited(minter: Minter, **numbers: int) -> Minter:
    """A minter whose crew has limits of extensions."""
    crew = msgspec.structs.replace(minter.crew, **numbers)
    return Minter(crew, minter.audience, minter.key)


def start(article: Orchestrator, **changes: Any) -> SubAgent:
    return article.start_run(**{"credits": "10", "tools": ["search.web"], **changes})


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]


def test_a_reason_that_is_no_text_in_unicode_is_written_all_the_same(
    make: Make, tmp_path: Path
) -> None:
    """Arguments of a command can have bytes of another encoding (PEP 383)."""
    long = "x" * (limits.reason_chars_max - 1)
    start(make(), reason=f"{long}\udcffmore")
    assert lines(tmp_path)[-1]["why"] == f"{long}?"


def test_the_callback_decides_each_request(make: Make, tmp_path: Path) -> None:
    """It gets who asks for what and why; yes and no are both in the journal, with its words."""
    asked: list[ExtensionRequest] = []

    def decide(request: ExtensionRequest) -> ExtensionDecision:
        asked.append(request)
        return ExtensionDecision(request.more_credits == "2.50", f"answer {len(asked)}")

    agent = start(make(decide=decide), seconds=HOUR)
    first = read_claims(agent.token())
    yes = agent.request_extension(
        more_seconds=600, more_credits="2.50", more_tools=["search.news"], reason="more pages"
    )
    assert yes.is_granted
    assert (yes.decided_by, yes.answer, yes.credits) == ("callback", "answer 1", "12.50")
    assert yes.tools == ["search.web", "search.news"]
    assert yes.ends_at == int(asked[0].ends_at or 0) + 600
    no = agent.request_extension(more_credits="90", reason="greed")
    assert (no.is_granted, no.answer, no.credits) == (False, "answer 2", "12.50")
    assert (asked[0].claims, asked[0].more_tools, asked[0].reason) == (
        first,
        ("search.news",),
        "more pages",
    )
    _, granted, refused = lines(tmp_path)
    assert (granted["event"], granted["credits"], granted["tools"], granted["way"]) == (
        "extend",
        2_500_000,
        ["search.news"],
        "library",
    )
    assert (granted["decided_by"], granted["why"]) == ("callback", "more pages")
    assert (refused["event"], refused["credits"], refused["why"], refused["answer"]) == (
        "refuse",
        90_000_000,
        "greed",
        "answer 2",
    )


def test_without_a_callback_only_a_number_of_the_crew_says_yes(
    make: Make, minter: Minter, tmp_path: Path
) -> None:
    """No number is no limit for the orchestrator's own code, and no consent for a sub-agent."""
    article = make()
    agent = start(article, seconds=HOUR)
    for asked in ({"more_seconds": 60}, {"more_credits": "1"}, {"more_tools": ["search.news"]}):
        assert not agent.request_extension(**asked).is_granted
    agent.refresh(credits="11", tools=["search.*"], seconds=60)
    assert [line["event"] for line in lines(tmp_path)] == ["mint"] + ["refuse"] * 3 + ["extend"]
    article.close()
    numbers = limited(minter, extension_seconds_max=2 * HOUR, extension_micro_max=2_000_000)
    agent = make(minter=numbers).agent(agent.branch)
    result = agent.request_extension(more_seconds=600, more_credits="1")
    assert (result.is_granted, result.decided_by, result.credits) == (True, "policy", "12.00")
    result = agent.request_extension(more_credits="0.000001")
    assert not result.is_granted
    assert "began with 10.00 credits and cannot have 12.000001" in result.answer
    assert not agent.request_extension(more_seconds=2 * HOUR).is_granted
    assert not agent.request_extension(more_tools=["embeddings.create"]).is_granted


def test_a_callback_cannot_exceed_the_limits(make: Make, minter: Minter) -> None:
    """It is not even asked then; nor does its failure grant anything."""
    asked: list[ExtensionRequest] = []

    def decide(request: ExtensionRequest) -> bool:
        asked.append(request)
        if request.reason == "crash":
            raise RuntimeError("a mistake of the program")
        return True

    article = make(minter=limited(minter, extension_micro_max=1_000_000), decide=decide)
    agent = start(article)
    assert not agent.request_extension(more_credits="2").is_granted
    assert asked == []
    result = agent.request_extension(more_credits="1", reason="crash")
    assert (result.is_granted, result.answer) == (False, "the orchestrator could not decide")
    assert agent.request_extension(more_credits="1").is_granted
    article.revoke(agent)
    with pytest.raises(BranchRevokedError):
        agent.request_extension(more_credits="1")


def test_the_number_of_tokens_is_limited(make: Make, minter: Minter, tmp_path: Path) -> None:
    """Renewals count. At the limit the last token is used to its end; the journal has one line."""
    article = make(minter=limited(minter, extensions_max=1))
    clock: Clock = article._state.clock  # type: ignore[assignment]
    agent = start(article)
    first = agent.token()
    clock.pass_seconds(700)
    second = agent.token()
    assert second != first
    clock.pass_seconds(700)
    assert agent.token() == second
    with pytest.raises(ExtensionRefusedError, match="extensions_max of crew article is 1"):
        agent.refresh()
    clock.pass_seconds(300)
    for _ in range(3):
        with pytest.raises(ExtensionRefusedError):
            agent.token()
    assert [(line["event"], line["way"]) for line in lines(tmp_path)[1:]] == [
        ("extend", "renewal"),
        ("refuse", "library"),
    ]


def test_a_branch_with_an_end_needs_an_extension(make: Make, clock: Clock) -> None:
    """Its tokens never outlast it, and it asks for no renewal that it cannot get."""
    agent = start(make(decide=lambda request: True), seconds=1000)
    end = int(clock()) + 1000
    clock.pass_seconds(700)
    last = agent.token()
    assert read_claims(last).exp == end
    clock.pass_seconds(299)
    assert (agent.token(), agent.has_fresh_token()) == (last, True)
    clock.pass_seconds(1)
    with pytest.raises(ExtensionRefusedError, match="request an extension"):
        agent.token()
    assert agent.request_extension(more_seconds=HOUR).ends_at == end + HOUR
    assert read_claims(agent.token()).exp == end + 900


def test_no_extension_outlasts_the_crews_seconds(make: Make, minter: Minter, clock: Clock) -> None:
    """However often the branch is renewed, and by whatever way."""
    agent = start(make(minter=limited(minter, extension_seconds_max=1000)))
    end = int(clock()) + 900 + 1000
    for _ in range(25):
        assert read_claims(agent.token()).exp <= end
        clock.pass_seconds(75)
    clock.pass_seconds(25)
    for extend in (agent.token, agent.refresh):
        with pytest.raises(ExtensionRefusedError, match="spawn another branch"):
            extend()


def test_a_token_file_has_an_end(
    make: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it keeps its last token; an extension of time lets the renewal go on."""
    # The thread would look while the clock jumps.
    monkeypatch.setattr(TokenFileRenewer, "start", lambda self: None)
    article = make(decide=lambda request: True)
    agent, path = start(article), tmp_path / "token"
    article.write_token_file(agent, path, seconds=1000)
    clock.pass_seconds(650)
    assert article.refresh_if_due(agent.branch) == 600
    last = read_token(path)
    clock.pass_seconds(650)
    for _ in range(2):
        assert article.refresh_if_due(agent.branch) == limits.token_file_look_seconds_max
    assert read_token(path) == last
    assert agent.request_extension(more_seconds=HOUR).is_granted
    clock.pass_seconds(650)
    assert article.refresh_if_due(agent.branch) == 600
    assert read_token(path) not in {last, ""}
    events = [(line["event"], line["way"], line["decided_by"]) for line in lines(tmp_path)[1:]]
    assert events == [
        ("extend", "token-file", "policy"),
        ("refuse", "token-file", "orchestrator"),
        ("extend", "library", "callback"),
        ("extend", "token-file", "policy"),
    ]


def test_a_sub_agent_that_asks_too_often_writes_no_more_lines(
    article: Orchestrator, tmp_path: Path
) -> None:
    """It is still refused; one line says that more follow without a line."""
    agent = start(article)
    for _ in range(limits.extension_requests_burst + 5):
        assert not agent.request_extension(more_credits="1").is_granted
    refused = lines(tmp_path)[1:]
    assert len(refused) == limits.extension_requests_burst + 1
    assert "asks too often" in refused[-1]["answer"]


def test_what_is_malformed_is_no_request(article: Orchestrator, tmp_path: Path) -> None:
    """Nothing asked for, and values of the wrong kind."""
    agent = start(article)
    bad: list[dict[str, Any]] = [
        {},
        {"more_seconds": 0},
        {"more_seconds": 1.5},
        {"more_credits": "-1"},
        {"more_credits": 1},
        {"more_tools": "search.web"},
    ]
    for asked in bad:
        with pytest.raises(IssuerError):
            agent.request_extension(**asked)
    assert len(lines(tmp_path)) == 1


def test_a_request_comes_as_json(make: Make, tmp_path: Path) -> None:
    """As the sidecar of a sub-agent passes it on: granted, refused, malformed, revoked."""
    article = make(decide=lambda request: request.more_credits == "1.00")
    agent = start(article)

    def ask(body: bytes) -> tuple[int, dict[str, Any]]:
        answer = answer_extension_request(article, agent.branch, body)
        return answer.status, json.loads(answer.body)

    status, result = ask(b'{"more_credits": "1", "reason": "more pages"}')
    assert (status, result["is_granted"], result["credits"]) == (200, True, "11.00")
    status, result = ask(b'{"more_credits": "2"}')
    assert (status, result["is_granted"], result["answer"]) == (
        403,
        False,
        "the orchestrator said no",
    )
    for body in (b"{}", b"[]", b'{"branch": "x"}', b'{"more_seconds": true}'):
        assert ask(body)[0] == 400
    assert ask(b" " * 8193)[0] == 413
    article.revoke(agent)
    assert ask(b'{"more_credits": "1"}')[0] == 403
    ways = [line.get("way") for line in lines(tmp_path)]
    assert ways == ["library", "socket", "socket", None]


def test_a_journal_of_an_earlier_version_counts(
    make: Make, minter: Minter, clock: Clock, tmp_path: Path
) -> None:
    """Its lines have no way, no decision and no end; what they gave counts."""
    agent = start(make())
    clock.pass_seconds(700)
    agent.refresh(credits="11")
    new = ("way", "decided_by", "ends_at", "end_moved", "answer")
    old = [{key: line[key] for key in line if key not in new} for line in lines(tmp_path)]
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in old))
    article = make(
        minter=limited(minter, extensions_max=2, extension_micro_max=1_500_000), journal=path
    )
    again = article.agent(agent.branch)
    with pytest.raises(ExtensionRefusedError, match=r"began with 10\.00 credits"):
        again.refresh(credits="12")
    again.refresh(credits="11.50")
    with pytest.raises(ExtensionRefusedError, match="has had 2 tokens after its first"):
        again.refresh()


class Snapshot(NamedTuple):
    """What an orchestrator knew when its journal had so many bytes."""

    size: int
    branches: dict[str, tuple[object, ...]]


def known(article: Orchestrator, branches: list[str]) -> dict[str, tuple[object, ...]]:
    """What the limits and the next grant of each branch depend on."""
    tree = article._state.branches
    return {
        name: (
            tree.is_revoked(name),
            branch.claims.jti,
            branch.extensions,
            branch.first_exp,
            branch.first_quota,
            branch.ends_at,
            branch.refused_grant,
        )
        for name in branches
        if (branch := tree._branches.get(name)) is not None
    }


STEPS = st.lists(
    st.tuples(st.sampled_from(["spawn", "ask", "refresh", "renew", "revoke"]), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cut=st.floats(0, 1))
def test_a_crash_keeps_each_decision_whose_token_somebody_has(
    minter: Minter, tmp_path: Path, steps: list[tuple[str, int]], cut: float
) -> None:
    """Wherever the file is cut: what came back to a caller before is known, and nothing else."""
    path, clock = tmp_path / "journal.jsonl", Clock()
    path.unlink(missing_ok=True)
    numbers = limited(minter, extensions_max=3, extension_micro_max=1_000_000)
    with Orchestrator(numbers, path, clock=clock, decide=lambda r: r.credits == "0.50") as article:
        run = start(article, seconds=2 * HOUR)
        agents, snapshots = [run], [Snapshot(0, {})]

        def note() -> None:
            names = [agent.branch for agent in agents]
            snapshots.append(Snapshot(path.stat().st_size, known(article, names)))

        note()
        for step, which in steps:
            agent = agents[which % len(agents)]
            clock.pass_seconds(400)
            try:
                if step == "spawn":
                    agents.append(
                        agent.spawn(role="r", tools=["search.web"], credits="1", seconds=900)
                    )
                elif step == "ask":
                    agent.request_extension(
                        more_credits=f"0.{which}0" if which else "0.50", more_seconds=60
                    )
                elif step == "refresh":
                    agent.refresh(credits=f"10.{which}")
                elif step == "renew":
                    agent.token()
                else:
                    agent.revoke()
            except IssuerError:
                pass
            note()
        names = [agent.branch for agent in agents]
    data = path.read_bytes()
    kept = round(cut * len(data))
    path.write_bytes(data[:kept])
    expected = max((each for each in snapshots if each.size <= kept), key=lambda each: each.size)
    with Orchestrator(numbers, path, clock=clock) as article:
        assert known(article, names) == expected.branches
