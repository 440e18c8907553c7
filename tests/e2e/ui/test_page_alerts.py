"""The alerts of the live page: which of them are open once their branch has ended."""

from collections.abc import Iterator
from typing import Any

import page_examples
import pytest
from browsers import Visitor, visitor
from fake_page_server import FakePageServer
from page_examples import LOOPING
from playwright.sync_api import Browser, expect

LOOPING_ROW = 3


@pytest.fixture
def visit(browser: Browser, server: FakePageServer) -> Iterator[Visitor]:
    with visitor(browser, server.url) as found:
        found.log_in("#/alerts")
        yield found
        assert not server.refusals


def _shows(visit: Visitor, number: int) -> None:
    """The navigation, the title of the window and the list count as many alerts to look at."""
    badge = visit.page.get_by_role("navigation").get_by_label(f"{number} to look at")
    expect(badge.first).to_be_visible()
    expect(visit.page).to_have_title(f"({number}) Alerts – Crewgate")
    expect(visit.page.get_by_text(f"{number} open, ")).to_be_visible()


def _alert(**members: Any) -> dict[str, Any]:
    """A critical alert about the branch that runs in circles."""
    return page_examples.alerts()[0] | members


def test_alerts_of_a_branch_that_has_ended_are_settled(
    visit: Visitor, server: FakePageServer
) -> None:
    """They stay in the list, say what has become of the branch, and advise nothing.

    They stay settled after the machines have forgotten the branch.
    """
    _shows(visit, 3)
    looping = visit.page.locator("article", has_text="same-call")
    expect(looping).to_contain_text("Next:")
    server.change(LOOPING_ROW, state="revoked")
    _shows(visit, 1)
    expect(looping).to_contain_text("The branch has ended: revoked.")
    expect(looping).not_to_contain_text("Next:")
    expect(looping.get_by_role("link", name="Show the branch")).to_be_visible()
    visit.page.get_by_label("Only open ones").check()
    expect(visit.page.locator("article")).to_have_count(1)
    visit.page.get_by_label("Only open ones").uncheck()
    server.names = ["gw-1"]
    server.not_asked = [{"machine": "gw-2", "why": "does not answer"}]
    server.drop(LOOPING_ROW)
    expect(visit.page.get_by_text("1 of 2 machines")).to_be_visible()
    _shows(visit, 1)
    expect(looping).to_contain_text("The branch has ended: revoked.")


def test_a_branch_that_lives_again_has_its_alerts_back(
    visit: Visitor, server: FakePageServer
) -> None:
    """A token that has expired can be renewed."""
    server.change(LOOPING_ROW, state="expired")
    _shows(visit, 1)
    server.change(LOOPING_ROW, state="live")
    _shows(visit, 3)


def test_a_branch_that_nobody_knows_has_ended(visit: Visitor, server: FakePageServer) -> None:
    """As long as a machine does not answer, nobody can say that."""
    server.names, server.not_asked = ["gw-1"], [{"machine": "gw-2", "why": "does not answer"}]
    server.drop(LOOPING_ROW)
    expect(visit.page.get_by_text("1 of 2 machines")).to_be_visible()
    _shows(visit, 3)
    server.names, server.not_asked = ["gw-1", "gw-2"], []
    server.drop(2)
    _shows(visit, 1)
    shown = visit.page.get_by_text("The branch has ended: no machine knows it any more.")
    expect(shown).to_have_count(2)


def test_what_outlasts_a_branch_stays_open(visit: Visitor, server: FakePageServer) -> None:
    """A quarantine goes on; and that a branch has ended is news by itself."""
    quarantine = _alert(
        id="alert_4", type="quarantine", subject="orchestrator/article/article-1", state="begins",
        text="orchestrator article/article-1 is quarantined",
    )  # fmt: skip
    end = {"step": "end", "mode": "enforce", "branch": LOOPING}
    ended = _alert(id="alert_5", data=end, text="rule same-call has ended the branch")
    overrun = _alert(id="alert_6", type="branch-ended", text="a tool stated a higher cost")
    server.change(LOOPING_ROW, state="revoked")
    alerts = [quarantine, ended, overrun, *page_examples.alerts()]
    server.report("alerts", {"alerts": alerts})
    _shows(visit, 4)


def test_the_panel_says_that_the_branch_of_its_alert_has_ended(
    visit: Visitor, server: FakePageServer
) -> None:
    """A person has come there by the link of the alert."""
    visit.go(f"#/branch/article/{LOOPING}?alert=alert_1")
    panel = visit.page.get_by_role("article", name="researcher")
    expect(panel).to_contain_text("Next: crewgate revoke")
    server.change(LOOPING_ROW, state="revoked")
    expect(panel).to_contain_text("The branch has ended: revoked.")
    expect(panel).not_to_contain_text("Next: crewgate revoke")
