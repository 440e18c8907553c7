"""The live page of one of three machines: it shows and steers all of them."""

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import httpx
import msgspec
import pytest
import trio
from cluster_gateways import SECONDS, Agent, agents, owner_of
from installation import COMMAND, wait_until
from live_page import Browser
from page_browser import PageBrowser

from crewgate import Permit, Verifier
from crewgate.audit.filters import AuditFilter
from crewgate.audit.reports import AuditReport
from crewgate.config import load
from crewgate.errors import ControlError
from crewgate.ipc.cluster_view import collect
from crewgate.ipc.machine_messages import AuditMode, AuditQuestion
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.ui.actions import orchestrator_certificates
from crewgate.ui.actions.action_request import ActionRequest

TOOL = "search.web"


class Site:
    """Three machines with budgets of their own; the page is that of the first one."""

    def __init__(self, machines: list[Agent], stack: ExitStack) -> None:
        self.machines = machines
        files = [machine.file for machine in machines]
        self.verifiers = [stack.enter_context(Verifier.from_config(file)) for file in files]
        self.crew = stack.enter_context(Orchestrator.from_config(files[0], crew="article"))
        self.names = [self._name(machine) for machine in machines]
        self.url, self._code = stack.enter_context(_page(machines[0]))
        self._session: PageBrowser | None = None

    @staticmethod
    def _name(machine: Agent) -> str:
        with owner_of(machine) as agent:
            return agent.cluster().name

    def call(self, machine: int, agent: SubAgent) -> None:
        """One call of a branch, which a machine permits once it has drawn for it."""
        verifier, token = self.verifiers[machine], agent.token()
        wait_until(lambda: isinstance(verifier.decide(token, TOOL), Permit))

    def run(self) -> SubAgent:
        return self.crew.start_run(credits="10", tools=["search.*"])

    def audit(self, machine: int, mode: AuditMode, name: str) -> list[Any]:
        """The rows that the audits of all machines have, asked through one of them."""
        question = AuditQuestion(mode, msgspec.json.encode(AuditFilter()))
        with owner_of(self.machines[machine]) as agent:
            found = collect(agent.ask_machines(question), AuditReport)
        return [
            row for parts in found.parts.values() for part in parts for row in getattr(part, name)
        ]

    async def browser(self) -> PageBrowser:
        """The browser with the session; its connections are those of this test."""
        none_kept = httpx.Limits(max_keepalive_connections=0)
        client = httpx.AsyncClient(
            base_url=self.url, limits=none_kept, timeout=SECONDS, trust_env=False
        )
        if self._session is None:
            self._session = PageBrowser(client)
            answer = await self._session.open_link(self._code)
            assert answer.status_code == 200, answer.text
            return self._session
        client.cookies = self._session.client.cookies
        return PageBrowser(client, self._session.key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with agents(tmp_path_factory.mktemp("live"), 3) as machines, ExitStack() as stack:
        yield Site(machines, stack)


@contextmanager
def _page(machine: Agent) -> Iterator[tuple[str, str]]:
    """`crewgate ui` while the block runs: the URL of the page, and a code."""
    command = [*COMMAND, "ui", "-c", str(machine.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = re.fullmatch(rb"(http://\S+)/#/code/(\S+)\n", process.stdout.readline())
        assert found
        yield found[1].decode(), found[2].decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


class Live:
    """What a browser makes of the stream."""

    def __init__(self) -> None:
        self.browser = Browser()
        self._news = trio.Event()

    async def read(self, stream: httpx.Response) -> None:
        waiting = b""
        async for data in stream.aiter_bytes():
            *events, waiting = (waiting + data).split(b"\n\n")
            for event in events:
                self.browser.take(event + b"\n\n")
            news, self._news = self._news, trio.Event()
            news.set()

    async def until(self, condition: Callable[[Browser], object]) -> None:
        """Wait until the page shows something."""
        with trio.fail_after(SECONDS):
            while not _holds(condition, self.browser):
                await self._news.wait()


def _holds(condition: Callable[[Browser], object], browser: Browser) -> bool:
    try:
        return bool(condition(browser))
    except (AssertionError, KeyError):  # what it is about has not come yet
        return False


@asynccontextmanager
async def watching(browser: PageBrowser) -> AsyncIterator[Live]:
    """The stream of events, while the block runs."""
    live = Live()
    headers = {"sec-fetch-site": "same-origin"}
    await browser.ask("GET", "/api/session")  # for a nonce
    headers["dpop"] = browser.proof("GET", "/api/live")
    async with browser.client.stream("GET", "/api/live", headers=headers) as stream:
        assert stream.status_code == 200, await stream.aread()
        assert stream.headers["content-type"].startswith("text/event-stream")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.read, stream)
            yield live
            nursery.cancel_scope.cancel()


async def test_a_branch_of_another_machine_is_seen_and_ended(site: Site) -> None:
    """All machines' audits say who has ended it, whichever machine is asked."""
    browser = await site.browser()
    run = site.run()
    name = ("article", run.branch)
    async with watching(browser) as live:
        site.call(1, run)
        await live.until(lambda page: page.branches[name]["machines"] == [site.names[1]])
        child = site.crew.spawn(role="writer", parent=run, tools=["search.*"], credits="1")
        site.call(2, child)
        await live.until(
            lambda page: page.branches["article", child.branch]["parent"] == run.branch
        )
        await live.until(lambda page: page.branches[name]["machines"] == sorted(site.names[1:]))
        body = {"action": "end", "crew": "article", "branch": run.branch, "reason": "it loops"}
        answer = await browser.ask("POST", "/api/action", body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["lines"][0].startswith(f"revoked {run.branch} of crew article")
        await live.until(lambda page: page.branches["article", child.branch]["state"] == "revoked")
        await live.until(
            lambda page: any(
                each["subject"] == f"branch/{run.branch}" and each["type"] == "branch-ended"
                for each in page.documents["alerts"]["alerts"]
            )
        )
    rows = [each for each in site.audit(1, "revocations", "revocations") if each.id == run.branch]
    ordered = {(each.by.partition("/")[0], each.reason) for each in rows}
    assert ("local", "it loops") in ordered
    assert {by for by, _ in ordered} <= {"local", "gateway"}


async def test_the_history_of_a_branch_is_that_of_all_machines(site: Site) -> None:
    """Its grants and revocations, as the audits have them."""
    browser, run = await site.browser(), site.run()
    for machine in (0, 2):
        site.call(machine, run)
    await browser.ask(
        "POST", "/api/action", {"action": "end", "crew": "article", "branch": run.branch}
    )
    answer = await browser.ask("GET", f"/api/branch?crew=article&branch={run.branch}")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert sorted(found["machines"]) == sorted(site.names)
    assert {each["branch"] for each in found["revocations"]} >= {run.branch}
    none = (await browser.ask("GET", f"/api/branch?crew=bd&branch={run.branch}")).json()
    assert (none["calls"], none["grants"], none["revocations"]) == ([], [], [])


async def test_an_orchestrator_is_quarantined_and_released(site: Site) -> None:
    """The audit has the person of each step."""
    browser, run = await site.browser(), site.run()
    site.call(0, run)
    async with watching(browser) as live:
        await live.until(lambda page: page.branches["article", run.branch]["orchestrator"])
        name = live.browser.branches["article", run.branch]["orchestrator"]
        body = {"crew": "article", "orchestrator": name}
        held = await browser.ask("POST", "/api/action", {"action": "quarantine", **body})
        assert held.status_code == 200, held.text
        await live.until(lambda page: page.branches["article", run.branch]["level"] == "quarantine")
        freed = await browser.ask("POST", "/api/action", {"action": "lift", **body})
        assert freed.json()["lines"] == [f"{name}: not quarantined; it can start branches again"]
        await live.until(lambda page: not page.branches["article", run.branch].get("level"))
        again = await browser.ask("POST", "/api/action", {"action": "lift", **body})
        assert again.status_code == 409
    steps = [each for each in site.audit(2, "watch", "watch") if each.orchestrator == name]
    mine = [each.step for each in steps if each.by.startswith("local/")]
    assert mine == ["set", "lifted"]


async def test_certificates_are_revoked_where_the_key_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of its own does it, in the name of the person; another machine says why not."""
    first = site.machines[0]
    out = str(first.folder / "certs" / "late")
    first.run("ca", "issue", "--role", "orchestrator", "--crew", "article", "--name", "late",
              "--out", out)  # fmt: skip
    browser = await site.browser()
    body = {"action": "revoke-orchestrator", "crew": "article", "orchestrator": "article/late"}
    answer = await browser.ask("POST", "/api/action", body)
    assert answer.status_code == 200, answer.text
    lines = answer.json()["lines"]
    assert lines[0] == "revoked 1 certificate of article/late"
    assert lines[1].startswith("revoked all tokens of orchestrator article/late of crew article")
    assert "revoked" in first.run("ca", "list")
    rows = [
        each for each in site.audit(1, "revocations", "revocations") if each.id == "article/late"
    ]
    assert any(each.by.startswith("local/") for each in rows)
    monkeypatch.setattr(orchestrator_certificates, "has_key", lambda _: False)
    order = msgspec.convert(body, ActionRequest)
    with pytest.raises(ControlError, match="the key of the CA is not on this machine"):
        await orchestrator_certificates.revoke(load(first.file), order, "person/ada")


async def test_a_machine_that_hangs_stops_no_other(site: Site) -> None:
    """It is named, and its rows come back with it."""
    browser, run = await site.browser(), site.run()
    site.call(2, run)
    process = site.machines[2].process
    assert process is not None
    async with watching(browser) as live:
        await live.until(lambda page: ("article", run.branch) in page.branches)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await live.until(
                lambda page: [each["machine"] for each in page.head["not_asked"]] == site.names[2:]
            )
            other = site.run()
            site.call(1, other)
            await live.until(lambda page: ("article", other.branch) in page.branches)
            await live.until(
                lambda page: any(
                    each["subject"] == f"machine/{site.names[2]}"
                    for each in page.documents["alerts"]["alerts"]
                )
            )
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await live.until(lambda page: sorted(page.head["machines"]) == sorted(site.names))
        await live.until(lambda page: ("article", run.branch) in page.branches)
