"""The live page for everybody: axe-core finds nothing in any view, theme or width."""

from collections.abc import Callable
from typing import Any

import page_examples
import pytest
from browsers import DESK, PHONE, Visitor, visitor
from fake_page_server import FakePageServer
from npm_programs import MODULES, needs_npm
from page_examples import LOOPING, RUN
from playwright.sync_api import Browser, expect

AXE = MODULES / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ALL = {"type": "tag", "values": _TAGS}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


def findings(visit: Visitor, only: dict[str, Any] = ALL) -> list[str]:
    """What axe-core finds: each rule with the elements that break it."""
    visit.page.evaluate(AXE.read_text())
    found: dict[str, Any] = visit.page.evaluate(
        "(only) => axe.run(document, { runOnly: only, resultTypes: ['violations'] })", only
    )
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary')}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def shows(text: str) -> Callable[[Visitor], None]:
    return lambda visit: expect(visit.page.get_by_text(text).first).to_be_visible()


def asks(visit: Visitor) -> None:
    visit.page.get_by_role("button", name="End …", exact=True).click()
    expect(visit.page.get_by_role("button", name="End it")).to_be_enabled()


def orders(visit: Visitor) -> None:
    asks(visit)
    visit.page.get_by_role("button", name="End it").click()
    expect(visit.page.get_by_text("In force on 3 of 3 machines")).to_be_visible()


def opens_menu(visit: Visitor) -> None:
    visit.page.locator(".person > summary").click()
    expect(visit.page.get_by_role("button", name="Sign out")).to_be_visible()


def opens_filters(visit: Visitor) -> None:
    expect(visit.row("reader")).to_be_visible()
    button = visit.page.get_by_role("button", name="Filters")
    if button.is_visible():
        button.click()
    expect(visit.page.get_by_label("State")).to_be_visible()


BRANCH = f"#/branch/article/{LOOPING}?alert=alert_1"
BEFORE_THE_END = 1_795_521_661_000_030  # microseconds
VIEWS: dict[str, tuple[str, Callable[[Visitor], None]]] = {
    "tree": ("", lambda visit: expect(visit.row("reader")).to_be_visible()),
    "filters": ("", opens_filters),
    "menu": ("", opens_menu),
    "branch": (BRANCH, shows("Last calls")),
    "question": (BRANCH, asks),
    "receipt": (BRANCH, orders),
    "runs": ("#/runs", shows("3 runs")),
    "people": ("#/people", shows("2 people")),
    "crews": ("#/crews", shows("2 crews")),
    "alerts": ("#/alerts?alert=alert_2", shows("3 alerts in all")),
    "machines": ("#/machines", shows("ready, but degraded")),
    "access": ("#/access", shows("On this page")),
    "recorded runs": ("#/replay", shows("2 runs")),
    "replay": (f"#/replay/article/{RUN}?at={BEFORE_THE_END}", shows("loop-detected")),
}


@needs_npm
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(browser: Browser, size: tuple[int, int], theme: str) -> None:
    """In each view, with all that a person can open there, also while the connection is lost."""
    server = FakePageServer(page_examples.few_rows())
    only = ALL if theme == "light" else COLOURS  # the elements are the same
    found: dict[str, list[str]] = {}
    with server.running(), visitor(browser, server.url, size, theme) as visit:
        visit.go()
        expect(visit.page.get_by_role("button", name="Sign in with")).to_be_visible()
        found["login"] = findings(visit, only)
        visit.log_in()
        for name, (place, act) in VIEWS.items():
            visit.go("#/")
            visit.go(place)
            visit.page.reload()
            act(visit)
            found[name] = findings(visit, only)
        visit.go(BRANCH)
        visit.page.reload()
        shows("Last calls")(visit)
        server.not_asked = [{"machine": "gw-3", "why": "no answer within 2 s"}]
        shows("No answer from gw-3")(visit)
        server.go_away()
        shows("The connection is lost.")(visit)
        found["lost"] = findings(visit, only)
    assert {name: each for name, each in found.items() if each} == {}


@needs_npm
def test_axe_would_find_something(browser: Browser) -> None:
    server = FakePageServer(page_examples.few_rows())
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        visit.page.evaluate("document.body.append(document.createElement('button'))")
        assert any(each.startswith("button-name") for each in findings(visit))


@pytest.mark.parametrize("width", [320, 390, 640, 1024, 1600])
def test_no_view_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    """WCAG 1.4.10: also at 320 pixels, or at 1280 with a zoom of 400 %, nothing is cut off."""
    server = FakePageServer(page_examples.few_rows())
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    too_wide = []
    with server.running(), visitor(browser, server.url, (width, 700)) as visit:
        visit.log_in()
        for name, (place, act) in VIEWS.items():
            visit.go("#/")
            visit.go(place)
            visit.page.reload()
            act(visit)
            if visit.page.evaluate(wide):
                too_wide.append(name)
    assert not too_wide


def test_a_person_can_skip_to_the_content(browser: Browser) -> None:
    server = FakePageServer(page_examples.few_rows())
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        visit.page.keyboard.press("Tab")
        expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("#main")).to_be_focused()
