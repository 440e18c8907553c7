"""The live page and its connection: it never shows old data as new, and comes back by itself."""

from collections.abc import Iterator

import page_examples
import pytest
from browsers import Visitor, visitor
from fake_page_server import FakePageServer
from page_examples import LOOPING, Row
from playwright.sync_api import Browser, expect


@pytest.fixture
def visit(browser: Browser, server: FakePageServer) -> Iterator[Visitor]:
    with visitor(browser, server.url) as found:
        found.log_in()
        yield found
        assert not server.refusals


def test_a_lost_connection_shows_and_comes_back(visit: Visitor, server: FakePageServer) -> None:
    """Also after a restart of the server, which knows other numbers and another nonce."""
    server.go_away()
    page = visit.page
    expect(page.get_by_role("button", name="lost since")).to_contain_text("trying again")
    expect(page.get_by_text("The connection is lost. What you see is from")).to_be_visible()
    expect(page.locator("body")).to_have_class("stale")
    expect(page.get_by_role("alert")).to_have_text("The connection is lost.")
    server.rows[3]["spent"] = 9_990_000
    server.restart()
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text("live · 3 machines")).to_be_visible()
    expect(page.locator("body")).not_to_have_class("stale")
    expect(visit.row(LOOPING[:8])).to_contain_text("9.99 / 10.00")
    expect(page.get_by_role("status").first).to_have_text("The connection is back.")


def test_it_comes_back_without_a_click(visit: Visitor, server: FakePageServer) -> None:
    server.cut_streams()
    server.change(3, spent=9_990_000)
    expect(visit.row(LOOPING[:8])).to_contain_text("9.99 / 10.00")
    expect(visit.page.get_by_text("live · 3 machines")).to_be_visible()


def test_what_a_person_looks_at_stays_through_a_restart(
    visit: Visitor, server: FakePageServer
) -> None:
    """The open panel, folded rows and the focus are of names, not of the numbers of rows."""
    visit.row(LOOPING[:8]).click()
    visit.row("reconciler").locator(".caret").click()
    server.go_away()
    server.restart()
    expect(visit.page.get_by_text("live · 3 machines")).to_be_visible()
    expect(visit.page.get_by_role("article", name="researcher")).to_contain_text(LOOPING)
    expect(visit.row("reconciler")).to_have_attribute("aria-expanded", "false")


def test_machines_that_do_not_answer_are_named(visit: Visitor, server: FakePageServer) -> None:
    server.names = ["gw-1", "gw-2"]
    server.not_asked = [{"machine": "gw-3", "why": "no answer within 2 s"}]
    expect(visit.page.get_by_text("No answer from gw-3 (no answer within 2 s).")).to_be_visible()
    expect(visit.page.get_by_text("live · 2 of 3 machines")).to_be_visible()
    server.names = [*page_examples.MACHINES]
    server.not_asked = []
    expect(visit.page.get_by_text("live · 3 machines")).to_be_visible()


def test_a_session_that_ends_leads_to_the_login(visit: Visitor, server: FakePageServer) -> None:
    visit.go(f"#/branch/article/{LOOPING}")
    server.end_all_sessions()
    server.report("session", {"why": "ended"})
    expect(visit.page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()
    visit.page.get_by_role("button", name="Sign in with").click()
    expect(visit.page.get_by_role("article", name="researcher")).to_be_visible()


def test_a_session_that_is_gone_after_a_restart_leads_to_the_login(
    visit: Visitor, server: FakePageServer
) -> None:
    server.end_all_sessions()
    server.cut_streams()
    expect(visit.page.get_by_role("heading", name="Sign in to Crewgate")).to_be_visible()


def test_sign_out_ends_the_session_and_forgets_the_key(
    visit: Visitor, server: FakePageServer
) -> None:
    visit.page.get_by_text("ada@example.com", exact=True).first.click()
    expect(visit.page.get_by_text("May end and quarantine")).to_be_visible()
    visit.page.get_by_role("button", name="Sign out").click()
    expect(visit.page.get_by_text("You have signed out.")).to_be_visible()
    assert "DELETE /api/session" in server.requests
    visit.page.reload()
    expect(visit.page.get_by_role("heading", name="Sign in to Crewgate")).to_be_visible()


def test_the_audits_are_read_again_only_if_there_may_be_more(
    browser: Browser, server: FakePageServer
) -> None:
    """Each look at a branch has each machine read its audit."""
    looks: list[Row] = []
    details = server.details
    server.details = lambda row: looks.append(row) or details(row)
    with visitor(browser, server.url) as visit:
        visit.page.clock.install()
        visit.log_in()
        visit.row(LOOPING[:8]).click()
        expect(visit.page.get_by_text("Last calls")).to_be_visible()
        visit.page.clock.run_for(30_000)
        assert len(looks) == 1
        server.change(3, spent=9_990_000)
        expect(visit.row(LOOPING[:8])).to_contain_text("9.99 / 10.00")
        with visit.page.expect_response("**/api/branch?*"):
            visit.page.clock.run_for(5000)
        with visit.page.expect_response("**/api/branch?*"):
            visit.page.clock.run_for(65_000)
        assert len(looks) == 3
