"""The lists of the live page in a browser: what they say where there is nothing to list."""

from collections.abc import Iterator

import fake_page_server
import page_examples
import pytest
from browsers import Visitor, visitor
from fake_page_server import FakePageServer
from playwright.sync_api import Browser, expect


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visitor]:
    server = FakePageServer(page_examples.few_rows())
    with server.running(), visitor(browser, server.url) as found:
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


def test_a_run_without_branches_below_has_no_count(visit: Visitor) -> None:
    """Other runs say how many of the branches below them are live."""
    visit.go("#/runs")
    cells = visit.page.locator("td[data-label=Branches]")
    expect(cells).to_have_count(3)
    assert "0 of 0" not in cells.all_inner_texts()
