"""Names that an agent, a tool or a person has made up: the live page shows them, and obeys none."""

import page_examples
import pytest
from browsers import PHONE, Visitor, visitor
from fake_page_server import FakePageServer, problem
from page_examples import HOSTILE
from playwright.sync_api import Browser, expect

# Characters that hide or reorder text; the page shows their escapes in their place.
ACTIVE = ("\u202e", "\u2066", "\u200b", "\u00ad", "\ufeff", "\u2028", "\x1b", "\x00")


@pytest.fixture
def server() -> FakePageServer:
    found = FakePageServer(page_examples.hostile_rows())
    alert = page_examples.alerts()[0]
    found.alerts = [
        alert | {"id": text, "text": text, "next": text, "machine": text, "crew": HOSTILE[0],
                 "data": {"branch": text}, "type": text}
        for text in HOSTILE
    ]  # fmt: skip
    trouble = found.machines["machines"][2]["troubles"][0]
    found.machines["machines"] += [
        {"machine": text, "status": "degraded", "waiting_for": [text],
         "troubles": [trouble | {"component": text, "why": text, "mend": text}]}
        for text in HOSTILE
    ]  # fmt: skip
    found.not_asked = [{"machine": text, "why": text} for text in HOSTILE]
    usual = page_examples.details
    found.details = lambda row: usual(row) | {
        "calls": [usual(row)["calls"][0] | dict.fromkeys(
            ("tool", "outcome", "reason", "would", "call_digest"), text) for text in HOSTILE],
        "grants": [usual(row)["grants"][0] | {"tools": [*HOSTILE], "grant": HOSTILE[0]}],
        "machines": [*HOSTILE],
    }  # fmt: skip
    return found


def shown(visit: Visitor) -> str:
    text: str = visit.page.locator("body").inner_text()
    return text


def check(visit: Visitor, place: str) -> None:
    visit.go(place)
    expect(visit.page.locator("#main")).to_be_visible()
    text = shown(visit)
    assert not [each for each in ACTIVE if each in text]
    assert visit.page.evaluate("window.canary") is None
    assert visit.page.locator("script:not([src^='/static/'])").count() == 0
    assert visit.page.locator("img:not([src^='/static/'])").count() == 0
    assert visit.page.locator("a:not([href^='#'])").count() <= 1  # the brand and "skip" are `#`
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert visit.page.evaluate(wide)


@pytest.mark.parametrize("size", [(1280, 800), PHONE], ids=["desk", "phone"])
def test_a_hostile_name_is_only_text(
    browser: Browser, server: FakePageServer, size: tuple[int, int]
) -> None:
    """No view runs, hides or reorders anything, or becomes wider than the screen."""
    with server.running(), visitor(browser, server.url, size) as visit:
        visit.log_in()
        expect(visit.tree.locator(".row")).to_have_count(len(HOSTILE) + 1)
        for place in ("", "#/alerts", "#/machines", "#/people", "#/runs", "#/crews", "#/access"):
            check(visit, place)
        for at, text in enumerate(HOSTILE):
            visit.go()
            row = visit.tree.locator(".row").filter(
                has=visit.page.locator(".role", has_text=text[:4])
            )
            row.first.click()
            expect(visit.page.get_by_role("heading", name="Last calls")).to_be_visible()
            check(visit, visit.page.url.removeprefix(f"{visit.url}/"))
            assert at < len(HOSTILE)


def test_hidden_characters_show_as_escapes(browser: Browser, server: FakePageServer) -> None:
    """As `crewgate tree` shows them, so that a name can be compared with the terminal."""
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        expect(visit.row(r"admin\u202egnp.exe\u2066")).to_be_visible()
        expect(visit.row(r"zero\u200bwidth\xad\ufeff")).to_be_visible()
        expect(visit.row(r"line\nfeed\u2028and \x1b[31mred\x00")).to_be_visible()


def test_the_address_of_a_hostile_branch_can_be_opened(
    browser: Browser, server: FakePageServer
) -> None:
    """Each part of an address is encoded: no name leads to another branch."""
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        text = HOSTILE[-1]
        row = visit.row(text)
        row.click()
        expect(visit.page.get_by_role("heading", name=text)).to_be_visible()
        url = visit.page.url
        visit.go()
        visit.page.goto(url)
        expect(visit.page.get_by_role("heading", name=text)).to_be_visible()
        assert "?a=b" not in url


def test_an_order_names_exactly_the_hostile_branch(
    browser: Browser, server: FakePageServer
) -> None:
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        server.action = lambda _: problem(500, HOSTILE[0], "\u202e".join(HOSTILE[:2]))
        visit.row(r"admin\u202egnp.exe").click()
        visit.page.get_by_role("button", name="End …", exact=True).click()
        visit.page.get_by_role("button", name="End it").click()
        expect(visit.page.get_by_role("dialog")).to_contain_text("It failed")
        assert not [each for each in ACTIVE if each in shown(visit)]
        assert server.actions[0]["branch"] == f"{HOSTILE[2]}2"
        assert server.actions[0]["crew"] == HOSTILE[0]
        assert visit.page.evaluate("window.canary") is None


@pytest.mark.parametrize(
    "place", ["#/branch/%ff/x", "#/nothing", "#/branch", "#/constructor", "#/__proto__", "#//evil"]
)
def test_an_address_that_means_nothing_shows_a_view(
    browser: Browser, server: FakePageServer, place: str
) -> None:
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in(place)
        expect(visit.page.locator("#main")).to_contain_text("credits/min")


def test_the_policy_of_content_would_stop_a_script(
    browser: Browser, server: FakePageServer
) -> None:
    """The tests above can fail: a script in the page is refused, and is seen as a fault."""
    with server.running(), visitor(browser, server.url) as visit:
        visit.log_in()
        with pytest.raises(Exception, match="TrustedHTML"):
            visit.page.evaluate("document.body.innerHTML = '<b>x</b>'")
        assert visit.faults
        visit.faults.clear()
