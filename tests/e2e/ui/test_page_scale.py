"""The live page with 10,000 branches: what it does for each change has a bound."""

import time
from collections.abc import Iterator

import page_examples
import pytest
from browsers import Visitor, visitor
from fake_page_server import FakePageServer
from playwright.sync_api import Browser, expect

BRANCHES = 10_000
ROWS_MAX = 50  # on a screen of 800 pixels, with those above and below it


@pytest.fixture(scope="module")
def server() -> Iterator[FakePageServer]:
    with FakePageServer(page_examples.many_rows(BRANCHES)).running() as found:
        yield found


@pytest.fixture
def visit(browser: Browser, server: FakePageServer) -> Iterator[Visitor]:
    with visitor(browser, server.url) as found:
        found.log_in()
        expect(found.page.get_by_text("of 10,000 branches")).to_be_visible()
        yield found


def test_only_rows_on_the_screen_are_elements(visit: Visitor) -> None:
    """Wherever a person scrolls, there are few elements, and each says its place among all."""
    rows = visit.tree.locator(".row")
    all_rows = int(visit.tree.get_attribute("aria-rowcount") or 0) - 1
    assert 8_000 < all_rows < 10_020
    assert rows.count() <= ROWS_MAX
    for share in (0.5, 1.0, 0.25):
        visit.page.evaluate(
            "(share) => { const grid = document.querySelector('.grid');"
            " grid.scrollTop = share * grid.scrollHeight; }", share,
        )  # fmt: skip
        expect(
            visit.tree.locator(f".row[aria-rowindex='{round(all_rows * share)}']")
        ).to_have_count(1)
        assert rows.count() <= ROWS_MAX


def test_a_change_of_all_rows_touches_only_those_on_the_screen(
    visit: Visitor, server: FakePageServer
) -> None:
    visit.page.evaluate(
        """() => {
          window.touched = new Set();
          new MutationObserver((records) => {
            for (const { target } of records) {
              const row = (target.closest ? target : target.parentElement).closest(".row");
              if (row) window.touched.add(row);
            }
          }).observe(document.querySelector(".grid"),
            { subtree: true, childList: true, characterData: true, attributes: true });
        }"""
    )
    first = visit.tree.locator(".row").nth(1)
    expect(first).not_to_contain_text("123.45")
    number = time.monotonic_ns() % 1_000
    server.change_many(
        [{"n": n, "spent": 123_450_000 + number} for n in server.rows if server.rows[n]["branch"]]
    )
    expect(first).to_contain_text("123.45")
    assert 0 < visit.page.evaluate("window.touched.size") <= ROWS_MAX


def test_a_text_finds_one_of_them(visit: Visitor, server: FakePageServer) -> None:
    live = [row for row in server.rows.values() if row["branch"] and row["state"] == "live"]
    wanted = live[7_000]
    visit.page.get_by_label("Filter by text").fill(wanted["branch"])
    expect(visit.row(wanted["branch"][:8])).to_be_visible()
    expect(visit.page.get_by_text(", 1 shown")).to_be_visible()


def test_a_long_list_has_few_rows_at_first(visit: Visitor) -> None:
    visit.go("#/people")
    expect(visit.page.get_by_text("500 people")).to_be_visible()
    rows = visit.page.locator("tbody tr")
    expect(rows).to_have_count(200)
    visit.page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(400)
