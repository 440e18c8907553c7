"""The live page of two real gateways in a browser: what they do, and how a branch ends."""

from collections.abc import Iterator

import pytest
from blocking_clients import OK, REVOKED, Caller, becomes
from browsers import Visitor, needs_chromium, visitor
from cluster_configs import gateways, name_of
from installation import Installation
from live_page_process import foreground
from playwright.sync_api import Browser, expect

from crewgate.issuer import Orchestrator, SubAgent

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    with gateways(tmp_path_factory.mktemp("page"), 2) as found:
        yield found


@pytest.fixture(scope="module")
def article(machines: list[Installation]) -> Iterator[Orchestrator]:
    with Orchestrator.from_config(machines[0].file, crew="article") as found:
        yield found


def looping(article: Orchestrator, machine: Installation, role: str) -> SubAgent:
    """A branch below a run that has repeated a call, of one credit, at this machine."""
    made = article.start_run(credits="100", tools=["search.*"]).spawn(
        credits="50", tools=["search.*"], role=role
    )
    call(machine, made, 12)
    return made


def call(machine: Installation, agent: SubAgent, calls: int) -> None:
    caller = Caller(machine)
    try:
        assert {caller.call(agent.token()) for _ in range(calls)} == {OK}
    finally:
        caller.close()


def opened(visit: Visitor, code: str) -> None:
    visit.go(f"#/code/{code}")
    visit.page.get_by_text("live · 2 machines").first.wait_for()


def test_a_loop_on_another_machine_is_seen_and_ended(
    browser: Browser, machines: list[Installation], article: Orchestrator
) -> None:
    """The page of the first machine; the branch calls at the second one, and ends on both."""
    first, second = machines
    loop = looping(article, second, "looper")
    with foreground(first) as (url, code), visitor(browser, url) as visit:
        opened(visit, code)
        row = visit.row(loop.branch[:8])
        expect(row).to_contain_text("12.00 / 50.00")
        expect(row).to_contain_text(name_of(second))
        expect(row).to_contain_text("rule would refuse")
        call(second, loop, 1)
        expect(row).to_contain_text("13.00 / 50.00")
        row.click()
        panel = visit.page.get_by_role("article", name="looper")
        expect(panel).to_contain_text("the same call")
        expect(panel).to_contain_text("search.")
        visit.page.get_by_role("button", name="End …", exact=True).click()
        dialog = visit.page.get_by_role("dialog")
        expect(dialog).to_contain_text(loop.branch)
        visit.page.get_by_role("button", name="End it").click()
        expect(dialog).to_contain_text("In force on 2 of 2 machines")
        expect(dialog).to_contain_text(f"revoked {loop.branch} of crew article")
        dialog.get_by_role("button", name="Close").click()
        expect(panel).to_contain_text("revoked")
        for machine in machines:
            caller = Caller(machine)
            try:
                becomes(caller, loop.token(), REVOKED)
            finally:
                caller.close()


def test_a_silent_machine_shows(
    browser: Browser, machines: list[Installation], article: Orchestrator
) -> None:
    first, second = machines
    name = name_of(second)
    stays = looping(article, first, "stayer")
    with foreground(first) as (url, code), visitor(browser, url) as visit:
        opened(visit, code)
        expect(visit.row(stays.branch[:8])).to_contain_text("live")
        with second.stopped():
            expect(visit.page.get_by_text(f"No answer from {name}")).to_be_visible()
            expect(visit.page.get_by_text("live · 1 of 2 machines")).to_be_visible()
        expect(visit.page.get_by_text("live · 2 machines")).to_be_visible()
        views = {"machines": name, "access": "article", "crews": "article", "runs": "Watch"}
        for place, text in views.items():
            visit.go(f"#/{place}")
            expect(visit.page.locator(".page")).to_contain_text(text)


def test_a_quarantine_and_its_end(
    browser: Browser, machines: list[Installation], article: Orchestrator
) -> None:
    first, second = machines
    branch = looping(article, second, "quarantined")
    with foreground(first) as (url, code), visitor(browser, url) as visit:
        opened(visit, code)
        visit.row(branch.branch[:8]).click()
        for button, confirm, receipt in (
            ("Quarantine …", "Quarantine it", "quarantined until"),
            ("Lift …", "Lift it", "not quarantined"),
        ):
            visit.page.get_by_role("button", name=button, exact=True).click()
            visit.page.get_by_role("button", name=confirm, exact=True).click()
            dialog = visit.page.get_by_role("dialog")
            expect(dialog).to_contain_text(receipt)
            dialog.get_by_role("button", name="Close").click()
