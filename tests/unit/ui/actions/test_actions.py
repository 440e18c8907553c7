"""Who may order what on the live page, what the agent then gets, and that it is done once."""

import json
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import trio
import trio.testing

from crewgate import limits
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import ControlError, ServiceConnectionError
from crewgate.ipc.admin_messages import (
    BurnedCreditForgiven,
    MintingWatchRow,
    QuarantineResult,
    RevocationReceipt,
)
from crewgate.ui.actions import endpoint, orchestrator_certificates
from crewgate.ui.actions.endpoint import take_action
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right, rights_of

BRANCH = "0199c1d2-0000-7000-8000-000000000002"
TARGETS: dict[str, dict[str, object]] = {
    "branch": {"branch": BRANCH},
    "grant": {"grant": "g-1"},
    "process": {"process": "host/worker"},
    "subject": {"subject": "grace@example.com"},
    "orchestrator": {"orchestrator": "article/article-1"},
    "all_tokens": {"all_tokens": True},
}
ACTIONS: list[tuple[Right, dict[str, object]]] = [
    *((Right.OPERATE, {"action": "end", **target}) for target in TARGETS.values()),
    (Right.OPERATE, {"action": "quarantine", "orchestrator": "article/article-1"}),
    (Right.OPERATE, {"action": "lift", "orchestrator": "article/article-1"}),
    (Right.BUDGET, {"action": "forgive", "branch": BRANCH}),
    (Right.CA, {"action": "revoke-orchestrator", "orchestrator": "article/article-1"}),
]


class Agent:
    """Notes what it is asked to do, and by whom."""

    def __init__(self) -> None:
        self.done: list[tuple[str, tuple[object, ...]]] = []
        self.failure: Exception | None = None

    def __call__(self, folder: Path) -> Self:
        assert folder == Path("/state")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def _note(self, *what: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.done.append((str(what[0]), what[1:]))

    def revoke(
        self, targets: list[RevocationTarget], until: str, by: str, reason: str
    ) -> RevocationReceipt:
        self._note("revoke", *targets, until, by, reason)
        return RevocationReceipt(targets=targets)

    def quarantine(
        self, crew: str, orchestrator: str, *, lift: bool, seconds: int, by: str
    ) -> QuarantineResult:
        self._note("quarantine", crew, orchestrator, lift, seconds, by)
        row = MintingWatchRow(
            crew, orchestrator, "quarantine", "quarantine", "owner", 1_800_000_000
        )
        return QuarantineResult(1, row)

    def forgive(self, branch: str, crew: str, *, by: str) -> BurnedCreditForgiven:
        self._note("forgive", branch, crew, by)
        return BurnedCreditForgiven(1, branch, crew, 2_500_000)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent of this machine; it also stands for the process that revokes certificates."""
    agent = Agent()
    monkeypatch.setattr(endpoint, "AdminClient", agent)

    async def revoke(config: object, order: Any, by: str) -> tuple[list[str], dict[str, object]]:
        agent.done.append(("certificates", (order.crew, order.only("orchestrator"), by)))
        return ["revoked 1 certificate"], {}

    monkeypatch.setattr(orchestrator_certificates, "revoke", revoke)
    return agent


class Config:
    """As much of a configuration as a page needs here."""

    state, name, path, ui = Path("/state"), "gw-1", Path("/crewgate.toml"), None
    crews = (SimpleNamespace(name="article"), SimpleNamespace(name="bd"))
    crossings = (SimpleNamespace(account="article:bd"),)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def state(log: list[str]) -> PageState:
    config: Any = Config()
    return PageState(config, log.append)


def person(right: Right, *crews: str) -> Person:
    rights = rights_of([([right], crews or None)])
    return Person("person/ada@example.com", "login", rights)


async def order(state: PageState, who: Person, **body: object) -> dict[str, Any]:
    """Send an order."""
    request = PageRequest(
        {}, {}, json.dumps(body).encode(), "application/json", look_up=lambda: who
    )
    found: Any = await take_action(state, who, request)
    return found


@pytest.mark.parametrize(
    ("needed", "body", "right", "crews"),
    [
        (*action, right, crews)
        for action, right, crews in product(ACTIONS, Right, [(), ("article",), ("bd",)])
    ],
)
async def test_each_action_needs_its_right_for_its_crew(
    needed: Right,
    body: dict[str, object],
    right: Right,
    crews: tuple[str, ...],
    agent: Agent,
    state: PageState,
) -> None:
    """Of every action, right and crew: whoever lacks the right has nothing done."""
    who = person(right, *crews)
    if right is needed and crews != ("bd",):
        await order(state, who, crew="article", **body)
        assert len(agent.done) == 1
    else:
        with pytest.raises(ControlError) as refused:
            await order(state, who, crew="article", **body)
        assert (refused.value.status, agent.done) == (403, [])


@pytest.mark.parametrize("body", [body for _, body in ACTIONS])
async def test_a_target_of_all_crews_needs_the_right_for_all(
    body: dict[str, object], agent: Agent, state: PageState
) -> None:
    """Without a crew, only a subject has a meaning."""
    for right in Right:
        with pytest.raises(ControlError) as refused:
            await order(state, person(right, "article"), **body)
        assert refused.value.status == 403
    everything = Person("person/ada", "login", rights_of([([*Right], None)]))
    if "subject" in body:
        await order(state, everything, **body)
        assert agent.done[0][1][0] == RevocationTarget(EntityKind.SUBJECT, "grace@example.com", "")
    else:
        with pytest.raises(ControlError) as refused:
            await order(state, everything, **body)
        assert (refused.value.status, agent.done) == (400, [])


@pytest.mark.parametrize(
    ("field", "kind", "name"),
    [
        ("branch", EntityKind.BRANCH, BRANCH),
        ("grant", EntityKind.GRANT, "g-1"),
        ("process", EntityKind.PROCESS, "host/worker"),
        ("subject", EntityKind.SUBJECT, "grace@example.com"),
        ("orchestrator", EntityKind.ORCHESTRATOR, "article/article-1"),
        ("all_tokens", EntityKind.CREW, "article"),
    ],
)
async def test_the_target_belongs_to_the_crew_whose_right_was_checked(
    field: str, kind: EntityKind, name: str, agent: Agent, state: PageState
) -> None:
    """The agent gets the crew, so a branch of another crew stays, whatever its id."""
    await order(
        state, person(Right.OPERATE, "article"), action="end", crew="article", **TARGETS[field]
    )
    assert agent.done == [
        (
            "revoke",
            (RevocationTarget(kind, name, "article"), "", "person/ada@example.com",
             "ended on the live page"),
        )
    ]  # fmt: skip


async def test_the_receipt_is_what_the_command_prints_and_the_log_says_who(
    agent: Agent, state: PageState, log: list[str]
) -> None:
    """Both in words and as data."""
    ada = Person("person/ada", "login", rights_of([([*Right], ["article"])]))
    ended = await order(state, ada, action="end", crew="article", branch=BRANCH, reason="it loops")
    assert ended["lines"] == [
        f"revoked {BRANCH} of crew article and all below it: no call was open at the gateway"
    ]
    assert ended["receipt"]["targets"] == [
        {"kind": "branch", "name": BRANCH, "crew": "article", "seconds": 0, "before": 0}
    ]
    assert agent.done[-1][1][-1] == "it loops"
    back = await order(state, ada, action="forgive", crew="article", branch=BRANCH)
    assert back["lines"] == [f"returned 2.50 credits to {BRANCH} of crew article"]
    held = await order(
        state, ada, action="quarantine", crew="article", orchestrator="article/x", seconds=90
    )
    assert held["lines"][0].startswith("article/x: quarantined until 2027-01-15 08:00Z")
    assert agent.done[-1] == ("quarantine", ("article", "article/x", False, 90, "person/ada"))
    await order(state, ada, action="lift", crew="article", orchestrator="article/x")
    assert agent.done[-1] == ("quarantine", ("article", "article/x", True, 0, "person/ada"))
    assert [line.partition(":")[0] for line in log] == ["person/ada"] * 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "delete"},
        {"action": "end", "crew": "article"},
        {"action": "end", "crew": "article", "branch": "nonsense"},
        {"action": "end", "crew": "article", "branch": BRANCH, "grant": "g"},
        {"action": "end", "crew": "article", "branch": BRANCH, "all_tokens": True},
        {"action": "end", "crew": "article", "orchestrator": "article/\x1b[2J"},
        {"action": "end", "crew": "article", "branch": BRANCH, "every": 1},
        {"action": "end", "crew": "article", "branch": BRANCH, "until": "never"},
        {"action": "end", "crew": "article", "branch": BRANCH, "reason": "x" * 501},
        {"action": "quarantine", "crew": "article", "branch": BRANCH},
        {"action": "quarantine", "crew": "article", "orchestrator": "article/x", "seconds": 1},
        {"action": "quarantine", "crew": "article", "orchestrator": "article/x", "seconds": 10**9},
        {"action": "forgive", "crew": "article", "orchestrator": "article/x"},
        {"action": "forgive", "crew": "article", "branch": BRANCH, "grant": "g"},
    ],
)
async def test_an_order_that_is_not_clear_is_refused(
    body: dict[str, object], agent: Agent, state: PageState
) -> None:
    """With 400, and nothing is done."""
    ada = Person("person/ada", "login", rights_of([([*Right], ["article"])]))
    with pytest.raises(ControlError) as refused:
        await order(state, ada, **body)
    assert (refused.value.status, agent.done) == (400, [])


async def test_a_crew_that_there_is_not_has_nothing_to_end(agent: Agent, state: PageState) -> None:
    """The answer names no other crew. An account at another crew belongs to its caller."""
    for name in ("ghost", "bd:article", "article\n"):
        with pytest.raises(ControlError) as refused:
            await order(state, person(Right.OPERATE), action="end", crew=name, branch=BRANCH)
        assert (refused.value.status, str(refused.value)) == (404, "there is no such crew")
    who = person(Right.OPERATE, "article")
    await order(state, who, action="end", crew="article:bd", branch=BRANCH)
    assert agent.done[0][1][0] == RevocationTarget(EntityKind.BRANCH, BRANCH, "article:bd")
    other = person(Right.OPERATE, "bd")
    with pytest.raises(ControlError):
        await order(state, other, action="end", crew="article:bd", branch=BRANCH)
    about = {"crew": "article:bd", "orchestrator": "article/x"}
    await order(state, who, action="end", **about)
    target = RevocationTarget(EntityKind.ORCHESTRATOR, "article/x", "article")
    assert agent.done[1][1][0] == target
    await order(state, who, action="quarantine", **about)
    assert agent.done[2][1][:2] == ("article", "article/x")


async def test_an_action_with_an_id_is_done_once(agent: Agent, state: PageState) -> None:
    """Of each person; a browser that sends it again gets the receipt of the first time."""
    body = {"action": "forgive", "crew": "article", "branch": BRANCH, "id": "1"}
    ada, grace = person(Right.BUDGET), Person("person/grace", "login", person(Right.BUDGET).rights)
    first = await order(state, ada, **body)
    assert await order(state, ada, **body) == first
    assert len(agent.done) == 1
    await order(state, grace, **body)
    assert len(agent.done) == 2
    with pytest.raises(ControlError, match="another action had this id"):
        await order(state, ada, **body, reason="other")


async def test_an_action_goes_on_without_its_browser(
    agent: Agent, state: PageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost while the agent works; the second request gets its receipt."""
    is_asked, may_answer = trio.Event(), trio.Event()
    host = trio.lowlevel.current_trio_token()
    revoke = agent.revoke

    def slow(*what: Any) -> RevocationReceipt:
        trio.from_thread.run_sync(is_asked.set, trio_token=host)
        trio.from_thread.run(may_answer.wait, trio_token=host)
        return revoke(*what)

    monkeypatch.setattr(agent, "revoke", slow)
    body = {"action": "end", "crew": "article", "branch": BRANCH, "id": "1"}
    ada, found = person(Right.OPERATE), list[dict[str, Any]]()

    async def first(scope: trio.CancelScope) -> None:
        with scope:
            await order(state, ada, **body)

    async def second() -> None:
        found.append(await order(state, ada, **body))

    async with trio.open_nursery() as nursery:
        lost = trio.CancelScope()
        nursery.start_soon(first, lost)
        await is_asked.wait()
        lost.cancel()
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        may_answer.set()
    assert len(agent.done) == 1
    assert found[0]["lines"]


async def test_an_action_that_failed_can_be_tried_again(agent: Agent, state: PageState) -> None:
    """With the same id."""
    body = {"action": "end", "crew": "article", "branch": BRANCH, "id": "1"}
    agent.failure = ServiceConnectionError("the agent is gone")
    with pytest.raises(ServiceConnectionError):
        await order(state, person(Right.OPERATE), **body)
    agent.failure = None
    await order(state, person(Right.OPERATE), **body)
    assert len(agent.done) == 1


async def test_a_person_may_act_so_often(agent: Agent, state: PageState) -> None:
    """The rate is of each person; ids that are remembered have a bound."""
    for number in range(limits.ui_actions_burst):
        await order(
            state, person(Right.BUDGET), action="forgive", crew="bd", branch=BRANCH, id=str(number)
        )
    with pytest.raises(ControlError) as refused:
        await order(state, person(Right.BUDGET), action="forgive", crew="bd", branch=BRANCH)
    assert refused.value.status == 429
    other = Person("person/grace", "login", person(Right.BUDGET).rights)
    await order(state, other, action="forgive", crew="bd", branch=BRANCH)


async def test_few_processes_revoke_certificates_at_once(
    state: PageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the key of the CA, and the memory of a process."""
    running: list[object] = []
    most = 0
    goes_on = trio.Event()

    async def revoke(config: object, order: Any, by: str) -> tuple[list[str], dict[str, object]]:
        nonlocal most
        running.append(order)
        most = max(most, len(running))
        await goes_on.wait()
        running.remove(order)
        return [], {}

    monkeypatch.setattr(orchestrator_certificates, "revoke", revoke)
    body = {"action": "revoke-orchestrator", "crew": "article", "orchestrator": "article/article-1"}
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(partial(order, state, person(Right.CA), **body))
        await trio.testing.wait_all_tasks_blocked()
        goes_on.set()
    assert (most, running) == (limits.ui_ca_processes_max, [])
