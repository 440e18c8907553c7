import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from crewgate import limits
from crewgate.core.tokens.claims import Claims
from crewgate.errors import (
    BranchRevokedError,
    IssuerError,
    JournalError,
    ScopeError,
    ServiceConnectionError,
)
from crewgate.issuer import Orchestrator, SubAgent, read_claims
from crewgate.issuer.branches.local_gateway import BranchUsage, RevocationReceipt

Make = Callable[..., Orchestrator]


class Clock(Protocol):
    def __call__(self) -> float: ...
    def pass_seconds(self, seconds: float) -> None: ...


class Gateway(Protocol):
    known: dict[str, BranchUsage]
    asked: list[set[str]]
    revoked: list[str]
    failures: list[Exception]
    meanwhile: Callable[[], object]
    receipt: RevocationReceipt


def start(article: Orchestrator, **changes: Any) -> SubAgent:
    """A run of ten credits."""
    return article.start_run(**{"credits": "10.00", "tools": ["search.*"], **changes})


def spawn(article: Orchestrator, parent: SubAgent, **changes: Any) -> SubAgent:
    """A researcher of two and a half."""
    parts = {"role": "researcher", "tools": ["search.web"], "credits": "2.50", **changes}
    return article.spawn(parent=parent, **parts)


def claims_of(agent: SubAgent) -> Claims:
    """What the agent's token says now."""
    return read_claims(agent.token())


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """The journal as a person reads it."""
    return [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]


def test_a_crew_starts_and_spawns(article: Orchestrator) -> None:
    """Role, tools, credits and ancestry are in the tokens."""
    run = start(article)
    researcher = spawn(article, run)
    claims = claims_of(researcher)
    assert (claims.agent_role, claims.credit_quota) == ("researcher", 2_500_000)
    assert claims.allowed_tools == ["search.web"]
    assert [element.id for element in claims.branch_path] == [run.branch]
    assert claims.process_id == f"pid_{os.getpid()}"
    assert claims.client_id == "article/article-1"
    assert researcher.claims == claims


def test_the_path_of_a_journal_may_be_text(make: Make, tmp_path: Path) -> None:
    """As every other path; None would be an orchestrator without a journal."""
    make(journal=str(tmp_path / "text.jsonl")).start_run(credits="1", tools=["search.web"])
    assert (tmp_path / "text.jsonl").stat().st_size > 0
    with pytest.raises(TypeError):
        make(journal=None)


def test_children_fit_in_their_parent_together(article: Orchestrator) -> None:
    """The fourth child of 2.50 still fits in 10.00; one micro-credit more does not."""
    run = start(article)
    for _ in range(4):
        spawn(article, run)
    held = r"would hold 10\.000001, and the branch itself and its ended children have spent 0\.00;"
    with pytest.raises(IssuerError, match=held):
        spawn(article, run, credits="0.000001")


def test_overcommitment_is_allowed_and_journalled(article: Orchestrator, tmp_path: Path) -> None:
    """Whoever wants more children than credits says so, and the journal keeps it."""
    run = start(article)
    spawn(article, run, credits="10.00")
    spawn(article, run, credits="10.00", overcommit=True, reason="they seldom meet")
    assert [line.get("overcommit", False) for line in lines(tmp_path)] == [False, False, True]
    assert lines(tmp_path)[-1]["why"] == "they seldom meet"


def test_overcommitment_does_not_lift_the_other_rules(article: Orchestrator) -> None:
    """A single child never has more than its parent, nor other tools."""
    run = start(article)
    with pytest.raises(IssuerError, match="more than the parent's"):
        spawn(article, run, credits="10.01", overcommit=True)
    with pytest.raises(IssuerError, match="outside the parent's tools"):
        spawn(article, run, tools=["embeddings.create"], overcommit=True)


def test_an_ended_child_frees_its_credits(article: Orchestrator, clock: Clock) -> None:
    """A revoked child holds nothing, and one whose last token has ended neither."""
    run = start(article)
    first = spawn(article, run, credits="10.00")
    article.revoke(first)
    second = spawn(article, run, credits="10.00")
    run_lives = limits.token_lifetime_seconds_max
    clock.pass_seconds(run_lives + limits.leeway_seconds)
    with pytest.raises(IssuerError, match="would hold"):
        spawn(article, run, credits="1.00")
    clock.pass_seconds(1)
    spawn(article, run, credits="10.00")
    with pytest.raises(IssuerError, match="would hold"):
        second.token()


def test_a_childs_children_keep_it_alive(article: Orchestrator, clock: Clock) -> None:
    """What lives below a branch is charged to it, so it holds its credits as long."""
    run = start(article)
    child = spawn(article, run, tools=["search.*"], credits="10.00")
    clock.pass_seconds(600)
    spawn(article, child)
    clock.pass_seconds(600)
    with pytest.raises(IssuerError, match="would hold"):
        spawn(article, run)


def test_what_is_spent_counts(make: Make, gateway: Gateway) -> None:
    """The parent's own spend takes room; a live child's is within the child's credits."""
    article = make(gateway=gateway)
    run = start(article)
    child = spawn(article, run)
    gateway.known[run.branch] = BranchUsage(6_000_000)
    gateway.known[child.branch] = BranchUsage(1_000_000)
    held = r"would hold 5\.01, and the branch itself and its ended children have spent 5\.00;"
    with pytest.raises(IssuerError, match=held):
        spawn(article, run, credits="2.51")
    spawn(article, run, credits="2.50")
    assert gateway.asked[-1] == {run.branch, child.branch}
    article.revoke(child)
    with pytest.raises(IssuerError, match=r"ended children have spent 6\.00;"):
        spawn(article, run, credits="2.00")
    spawn(article, run, credits="1.50")


def test_the_gateway_is_not_asked_under_the_lock(make: Make, gateway: Gateway) -> None:
    """While a gateway is slow to answer, another thread gets its token."""
    tokens: list[str] = []

    def ask_elsewhere() -> None:
        other = threading.Thread(target=lambda: tokens.append(run.token()))
        other.start()
        other.join(10)

    article = make(gateway=gateway)
    run = start(article)
    gateway.meanwhile = ask_elsewhere
    article.revoke(spawn(article, run))
    assert tokens == [run.token()] * 2


def test_a_death_at_the_gateway_is_learnt(
    make: Make, gateway: Gateway, clock: Clock, tmp_path: Path
) -> None:
    """What an operator revoked there gets no further token here, nor does anything below it."""
    article = make(gateway=gateway)
    run = start(article)
    child, sibling = spawn(article, run, tools=["search.*"]), spawn(article, run)
    below = spawn(article, child, credits="1.00")
    gateway.known[child.branch] = BranchUsage(0, is_revoked=True)
    clock.pass_seconds(700)
    with pytest.raises(BranchRevokedError, match="was revoked"):
        below.token()
    with pytest.raises(BranchRevokedError, match="was revoked"):
        spawn(article, child)
    assert sibling.token()
    last = [line for line in lines(tmp_path) if line["event"] == "revoke"]
    assert [(line["branch"], line["why"]) for line in last] == [
        (child.branch, "revoked at the gateway")
    ]


def test_a_token_is_renewed_before_it_ends(
    article: Orchestrator, clock: Clock, tmp_path: Path
) -> None:
    """A sub-agent of 40 minutes always has minutes left, and each extension is journalled."""
    researcher = spawn(article, start(article))
    seen = set()
    for _ in range(40):
        claims = claims_of(researcher)
        assert claims.exp - clock() >= limits.refresh_margin_seconds_max
        seen.add(claims.jti)
        clock.pass_seconds(60)
    extensions = [line for line in lines(tmp_path) if line["event"] == "extend"]
    assert len(seen) == 4
    assert {line["claims"]["jti"] for line in extensions} < seen
    assert [line["why"] for line in extensions] == ["expires"] * 3
    assert [line["seconds"] for line in extensions] == [600] * 3


def test_short_lifetimes_are_kept(make: Make, clock: Clock) -> None:
    """An orchestrator of one-minute tokens renews them after forty seconds."""
    run = start(make(lifetime=60))
    first = run.token()
    clock.pass_seconds(39)
    assert run.token() == first
    clock.pass_seconds(1)
    assert claims_of(run).exp == clock() + 60


def test_a_renewal_tells_the_ancestors_newest_quotas(article: Orchestrator, clock: Clock) -> None:
    """Path elements carry the grants that govern now."""
    run = start(article)
    child = spawn(article, run)
    clock.pass_seconds(10)
    run.refresh(credits="20.00")
    child.refresh()
    (element,) = claims_of(child).branch_path
    assert (element.credit_quota, element.iat) == (20_000_000, int(clock()))


def test_credits_and_tools_can_grow_within_the_parent(
    article: Orchestrator, tmp_path: Path
) -> None:
    """A refresh may give more, if it still fits; what grew is journalled."""
    run = start(article)
    child = spawn(article, run)
    spawn(article, run, credits="5.00")
    child.refresh(credits="5.00", tools=["search.*"], reason="promising")
    line = lines(tmp_path)[-1]
    assert (line["credits"], line["tools"], line["why"]) == (2_500_000, ["search.*"], "promising")
    with pytest.raises(IssuerError, match="would hold"):
        child.refresh(credits="5.01")
    with pytest.raises(IssuerError, match="outside the parent's tools"):
        child.refresh(tools=["embeddings.create"])
    child.refresh(credits="6.00", overcommit=True)
    assert lines(tmp_path)[-1]["overcommit"] is True


def test_a_refused_refresh_changes_nothing(article: Orchestrator, tmp_path: Path) -> None:
    """The token stays; the journal has who refused what, and why."""
    child = spawn(article, start(article))
    before, text = child.token(), (tmp_path / "journal.jsonl").read_text()
    with pytest.raises(IssuerError):
        child.refresh(credits="11.00", reason="a long list")
    assert child.token() == before
    *others, last = lines(tmp_path)
    assert "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in others) == text
    assert (last["event"], last["branch"], last["credits"]) == ("refuse", child.branch, 8_500_000)
    assert (last["decided_by"], last["why"]) == ("policy", "a long list")
    assert "more than the parent's" in last["answer"]


def test_a_parent_cannot_shrink_below_its_children_and_what_is_spent(
    make: Make, gateway: Gateway
) -> None:
    """The error says how many credits fit, and names a child to revoke only if there is one."""
    article = make(gateway=gateway)
    run = start(article)
    gateway.known[run.branch] = BranchUsage(72_000)
    with pytest.raises(ScopeError) as refused:
        run.refresh(credits="0.01")
    only = f"branch {run.branch} cannot have only"
    assert str(refused.value) == (
        f"{only} 0.01 credits: its live children hold 0.00, and the branch itself and its ended "
        "children have spent 0.072; give it at least 0.072"
    )
    run.refresh(credits="9.00")
    spawn(article, run)
    with pytest.raises(ScopeError) as refused:
        run.refresh(credits="2.00")
    assert str(refused.value) == (
        f"{only} 2.00 credits: its live children hold 2.50, and the branch itself and its ended "
        "children have spent 0.072; give it at least 2.572, or revoke a child"
    )
    run.refresh(credits="2.572")


def test_revoking_ends_everything_below_and_nothing_else(make: Make, gateway: Gateway) -> None:
    """No token, refresh or child for the branch or its descendants; siblings go on."""
    article = make(gateway=gateway)
    run = start(article)
    child, sibling = spawn(article, run, tools=["search.*"]), spawn(article, run)
    below = spawn(article, child, credits="1.00")
    assert article.revoke(child, reason="loops") is gateway.receipt
    assert gateway.revoked == [child.branch]
    for dead in (child, below):
        for attempt in (dead.token, dead.refresh, lambda dead=dead: spawn(article, dead)):
            with pytest.raises(BranchRevokedError, match="was revoked"):
                attempt()
    assert sibling.token()
    assert spawn(article, run).token()


def test_revoking_again_tells_again_and_journals_once(
    make: Make, gateway: Gateway, tmp_path: Path
) -> None:
    """A gateway that could not be told is told by the next attempt."""
    gateway.failures = [ServiceConnectionError("agent away")]
    article = make(gateway=gateway)
    run = start(article)
    with pytest.raises(ServiceConnectionError):
        run.revoke()
    with pytest.raises(BranchRevokedError, match="was revoked"):
        run.token()
    assert run.revoke() is gateway.receipt
    assert [line["event"] for line in lines(tmp_path)] == ["mint", "revoke"]


def test_a_branch_minted_elsewhere_can_be_revoked(
    make: Make, gateway: Gateway, tmp_path: Path
) -> None:
    """Any UUID of the crew; it is journalled and told like an own one."""
    article = make(gateway=gateway)
    article.revoke("0199c1d2-0000-7000-8000-000000000003")
    assert gateway.revoked == ["0199c1d2-0000-7000-8000-000000000003"]
    assert lines(tmp_path)[0]["event"] == "revoke"
    with pytest.raises(IssuerError, match="not a branch id"):
        article.revoke("*")
    with pytest.raises(IssuerError, match="not known") as raised:
        article.agent("0199c1d2-0000-7000-8000-000000000004")
    assert raised.type is IssuerError  # it was not revoked


def test_a_death_elsewhere_is_kept(article: Orchestrator) -> None:
    """What an operator revoked by hand is refused here too, once known."""
    run = start(article)
    article.mark_revoked(run.branch, reason="crewgate revoke")
    with pytest.raises(BranchRevokedError, match="was revoked"):
        run.token()


def full(descriptor: int, data: bytes) -> int:
    """A disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_mints_nothing_but_still_kills(
    make: Make,
    gateway: Gateway,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No token leaves without its line; a death counts and is told, and is written later."""
    article = make(gateway=gateway)
    run = start(article)
    child, other = spawn(article, run), spawn(article, run)
    first = child.token()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(JournalError, match="No space left"):
        spawn(article, run)
    clock.pass_seconds(700)
    assert child.token() == first  # not renewed, and good for some minutes more
    with pytest.raises(JournalError):
        other.revoke()
    assert gateway.revoked == [other.branch]
    with pytest.raises(BranchRevokedError, match="was revoked"):
        other.token()
    clock.pass_seconds(201)
    with pytest.raises(JournalError):
        child.token()
    monkeypatch.undo()
    assert child.token() != first
    other.revoke()
    assert [line["event"] for line in lines(tmp_path)][-1] == "revoke"
    article.close()
    with pytest.raises(BranchRevokedError, match="was revoked"):
        make().agent(other.branch)


def test_after_a_crash_all_is_known_again(make: Make, tmp_path: Path) -> None:
    """A new process has the same tree, deaths and promises, and goes on minting for it."""
    before = make()
    run = start(before)
    dead, alive = spawn(before, run), spawn(before, run, credits="5.00")
    before.revoke(dead)
    before.close()
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"event":"mint","at":18000')
    after = make()
    again = after.agent(alive.branch)
    assert again.role == "researcher"
    assert claims_of(again).credit_quota == 5_000_000
    assert lines(tmp_path)[-1]["why"] == "resumed"
    with pytest.raises(BranchRevokedError, match="was revoked"):
        after.agent(dead.branch)
    with pytest.raises(IssuerError, match="would hold"):
        spawn(after, after.agent(run.branch), credits="5.01")
    spawn(after, after.agent(run.branch), credits="5.00")


def test_threads_share_one_renewal(article: Orchestrator, clock: Clock, tmp_path: Path) -> None:
    """Eight threads that find an old token get one new one, journalled once."""
    run = start(article)
    clock.pass_seconds(700)
    barrier = threading.Barrier(8)
    tokens: list[str] = []

    def ask() -> None:
        barrier.wait(10)
        tokens.append(run.token())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert len(lines(tmp_path)) == 2


def test_threads_cannot_spend_a_parents_credits_twice(article: Orchestrator) -> None:
    """Twenty spawns at once for four places: four succeed."""
    run = start(article)
    barrier = threading.Barrier(20)
    outcomes: list[bool] = []

    def ask() -> None:
        barrier.wait(10)
        try:
            spawn(article, run)
        except IssuerError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == [False] * 16 + [True] * 4


def test_ended_branches_are_forgotten_when_there_are_too_many(
    article: Orchestrator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is bounded: what has ended makes room, and live branches are not forgotten."""
    monkeypatch.setattr(limits, "issuer_branches_max", 3)
    old = start(article)
    spawn(article, old)
    clock.pass_seconds(1000)
    runs = [start(article) for _ in range(3)]
    with pytest.raises(IssuerError, match="not known"):
        old.token()
    with pytest.raises(IssuerError, match="3 branches are live"):
        start(article)
    assert runs[0].token()
    assert len(article._state.tokens) == 3  # their tokens are forgotten with them


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"credits": 10}, 'decimal text such as "2.50"'),
        ({"credits": "ten"}, "at most six decimals"),
        ({"credits": "-1"}, "at most six decimals"),
        ({"tools": "search.*"}, r"write \['search\.\*'\]"),
        ({"tools": ["*"]}, "neither the name of a tool"),
        ({"credits": "100.01"}, "0 to 100.00"),
    ],
)
def test_bad_parameters_are_said(
    article: Orchestrator, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """One line that says how to write it, and nothing in the journal."""
    with pytest.raises(IssuerError, match=said):
        start(article, **changes)
    assert lines(tmp_path) == []


def test_closed_is_closed(article: Orchestrator) -> None:
    """An orchestrator that let its journal go mints nothing."""
    run = start(article)
    article.close()
    article.close()
    with pytest.raises(JournalError, match="the orchestrator of this journal was closed; make an"):
        spawn(article, run)


def test_reprs_hold_no_token(article: Orchestrator) -> None:
    """What a log prints tells who and how many, not the secret."""
    run = start(article)
    assert repr(article) == "<Orchestrator article/article-1 with 1 branches>"
    assert repr(run) == f"<SubAgent orchestrator {run.branch}>"
    assert run.token() not in repr(vars(article))
