"""How a person gets into the live page, and what the key of the browser is worth."""

import pytest
from browsers import visitor
from fake_page_server import FakePageServer
from page_examples import LOOPING
from playwright.sync_api import Browser, expect


def test_a_login_leads_to_the_place_of_the_link(browser: Browser, server: FakePageServer) -> None:
    with visitor(browser, server.url) as visit:
        visit.log_in(f"#/branch/article/{LOOPING}?alert=alert_1")
        expect(visit.page.get_by_role("article", name="researcher")).to_be_visible()
        assert visit.page.url.endswith(f"#/branch/article/{LOOPING}?alert=alert_1")


def test_a_one_time_code_leaves_the_address_at_once(
    browser: Browser, server: FakePageServer
) -> None:
    """The code is neither in the address bar nor in the history, and works once."""
    with visitor(browser, server.url) as visit:
        visit.go("#/code/one-time")
        expect(visit.page.get_by_text("live ·").first).to_be_visible()
        assert "one-time" not in visit.page.url
        visit.page.go_back()
        assert "one-time" not in visit.page.url
        assert not any("one-time" in each for each in server.requests)
    with visitor(browser, server.url) as visit:
        visit.go("#/code/one-time")
        expect(visit.page.get_by_text("The one-time link is not good")).to_be_visible()


def test_an_operator_uses_a_certificate(browser: Browser, server: FakePageServer) -> None:
    with visitor(browser, server.url) as visit:
        visit.go()
        visit.page.get_by_role("button", name="Use the certificate of an operator").click()
        expect(visit.page.get_by_text("live ·").first).to_be_visible()


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("refused", "refused the login"),
        ("no-rights", "have no rights here"),
        ("expired", "took too long"),
        ("unavailable", "cannot complete a login"),
        ("misconfigured", "lets nobody log in"),
        ("busy", "Too many people"),
        ("invalid", "is not good"),
        ("<b>other</b>", "The login failed."),
    ],
)
def test_a_login_that_failed_says_why(
    browser: Browser, server: FakePageServer, why: str, text: str
) -> None:
    server.login_failure = why
    with visitor(browser, server.url) as visit:
        visit.go()
        visit.page.get_by_role("button", name="Sign in with").click()
        expect(visit.page.get_by_role("alert").filter(has_text=text)).to_be_visible()
        assert "login-failed" not in visit.page.url


def test_it_offers_only_the_ways_of_the_server(browser: Browser, server: FakePageServer) -> None:
    server.ways = {"login": "", "certificate": False, "link": True, "machine": "gw-1"}
    with visitor(browser, server.url) as visit:
        visit.go()
        expect(visit.page.get_by_text("crewgate ui on gw-1")).to_be_visible()
        expect(visit.page.get_by_role("button")).to_have_count(0)


def test_nobody_can_read_the_private_key(browser: Browser, server: FakePageServer) -> None:
    """The key in IndexedDB cannot be exported, and a reload signs with the same one."""
    with visitor(browser, server.url) as visit:
        visit.log_in()
        visit.page.reload()
        expect(visit.page.get_by_text("live ·").first).to_be_visible()
        found = visit.page.evaluate(
            """async () => {
              const database = await new Promise((resolve) => {
                const request = indexedDB.open("crewgate");
                request.onsuccess = () => resolve(request.result);
              });
              const pair = await new Promise((resolve) => {
                const request = database.transaction("keys").objectStore("keys").get("session");
                request.onsuccess = () => resolve(request.result);
              });
              const format = async (name) => crypto.subtle.exportKey(name, pair.privateKey)
                .then(() => "exported", (error) => error.name);
              return [pair.privateKey.extractable, await format("jwk"), await format("pkcs8"),
                pair.privateKey.algorithm.namedCurve, document.cookie];
            }"""
        )
        assert found == [False, "InvalidAccessError", "InvalidAccessError", "P-256", ""]
    assert not server.refusals


def test_a_cookie_without_the_key_is_worthless(browser: Browser, server: FakePageServer) -> None:
    with visitor(browser, server.url) as visit:
        visit.log_in()
        cookies = visit.page.context.cookies()
    context = browser.new_context()
    context.add_cookies([{key: each[key] for key in ("name", "value", "domain", "path")}
                         for each in cookies])  # type: ignore[misc] # fmt: skip
    try:
        page = context.new_page()
        page.goto(server.url)
        expect(page.get_by_role("heading", name="Sign in to Crewgate")).to_be_visible()
    finally:
        context.close()
    assert any("key" in each for each in server.refusals)


def test_a_server_that_does_not_answer_is_not_a_blank_page(
    browser: Browser, server: FakePageServer
) -> None:
    with visitor(browser, server.url) as visit:
        visit.page.route("**/api/**", lambda route: route.abort())
        visit.go()
        expect(visit.page.get_by_text("The server does not answer.")).to_be_visible()
        visit.page.unroute("**/api/**")
        visit.page.get_by_role("button", name="Try again").click()
        expect(visit.page.get_by_role("button", name="Sign in with")).to_be_visible()
