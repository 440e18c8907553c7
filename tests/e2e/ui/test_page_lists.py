"""The lists of the live page in a browser: what they say where there is nothing to list."""

from collections.abc import Iterator

import fake_page_server
import page_examples
import pytest
from browsers import Visitor, visitor
from fake_page_server import FakePageServer
from playwright.sync_api import Browser, expect


@pytest.fixture
def visit(browser: Browser, server: FakePageServer) -> Iterator[Visitor]:
    with visitor(browser, server.url) as found:
        found.log_in()
        yield found
        assert not server.refusals


def test_access_says_that_nobody_has_rights(
    visit: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration without [ui.access.NAME] leads to a sentence and not to an empty table."""
    nothing = page_examples.access() | {"people": [], "operators": False}
    monkeypatch.setitem(fake_page_server.FIXED, "/api/access", lambda: nothing)
    visit.go("#/access")
    expect(visit.page.get_by_text("gives nobody rights here")).to_be_visible()
    expect(visit.page.locator("code", has_text="crewgate ui")).to_be_visible()


def test_access_says_what_the_minting_watch_does(visit: Visitor) -> None:
    """Its mode alone says nothing to a person who does not know it."""
    visit.go("#/access")
    mode = visit.page.get_by_title("It only says so: it stops nothing.").first
    expect(mode).to_have_text("observe")


def test_a_run_without_branches_below_has_no_count(visit: Visitor) -> None:
    """Other runs say how many of the branches below them are live."""
    visit.go("#/runs")
    cells = visit.page.locator('td[data-label="Branches below"]')
    expect(cells).to_have_count(3)
    assert "0 of 0" not in cells.all_inner_texts()


def test_no_orchestrator_is_shown_as_a_person(visit: Visitor, server: FakePageServer) -> None:
    """The subject of a run without a person is its orchestrator."""
    nightly = "billing/nightly"
    for number, more in ((20, {}), (21, {"parent": page_examples.uuid_of(20)})):
        own = page_examples.branch(
            number, "billing", "importer", 5, 1, subject=nightly, orchestrator=nightly, **more
        )
        server.add(own)
    cell = visit.row(page_examples.uuid_of(20)[:8]).locator(".person bdi")
    expect(cell).to_have_text("–")
    expect(cell).to_have_attribute(
        "title", "No person stands behind it: its orchestrator began the run by itself."
    )
    visit.go("#/runs")
    run = visit.page.get_by_role("row").filter(has_text=page_examples.uuid_of(20)[:8])
    expect(run.locator("td[data-label=Person]")).to_have_text("–")
    visit.go("#/people")
    expect(visit.page.get_by_text("2 people")).to_be_visible()
    last = visit.page.get_by_role("row").last
    expect(last).to_contain_text("No person")
    expect(last.locator("td[data-label='Live branches']")).to_have_text("2")
    expect(last.get_by_role("button")).to_have_count(0)
    expect(visit.page.locator("tbody")).not_to_contain_text(nightly)
    last.get_by_role("link").click()
    expect(visit.tree.locator(".row[data-kind=branch]")).to_have_count(2)
    visit.row("importer").first.click()
    facts = visit.page.get_by_role("article", name="importer")
    expect(facts).to_contain_text("nobody; its orchestrator began the run")
