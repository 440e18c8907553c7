"""What other sites can do to the live page in a real browser in which a person has a session.

One of them is at another port of the same host: browsers count that as the same site and send it
the cookies of the page. The other one is at another host.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from browsers import chromium, needs_chromium
from installation import Installation
from live_page_process import foreground
from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = needs_chromium
RULES = "--host-resolver-rules=MAP *.test 127.0.0.1"
LIVE = "live ·"


class ForeignSite(ThreadingHTTPServer):
    """Serves an empty page at each path, and keeps the cookies that browsers send."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cookies: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: ForeignSite

    def do_GET(self) -> None:
        self.server.cookies.append(self.headers.get("cookie", ""))
        body = b"<!doctype html><title>foreign</title><body></body>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(RULES) as found:
        yield found


@pytest.fixture
def link(site: Installation) -> Iterator[tuple[str, str]]:
    """The URL of the page, and a code that is still good."""
    with foreground(site) as found:
        yield found


@pytest.fixture
def foreign() -> Iterator[ForeignSite]:
    found = ForeignSite()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context()
    yield found
    found.close()


@pytest.fixture(params=["127.0.0.1", "evil.test"])
def evil(request: pytest.FixtureRequest, context: BrowserContext, foreign: ForeignSite) -> Page:
    """A tab of the same browser at a foreign site."""
    page = context.new_page()
    page.goto(f"http://{request.param}:{foreign.server_port}/")
    return page


def opened(context: BrowserContext, url: str, code: str) -> Page:
    """A tab in which a person has opened the link."""
    page = context.new_page()
    page.goto(f"{url}/#/code/{code}")
    page.get_by_text(LIVE).first.wait_for()
    return page


SEND = """
async ([url, method, mode, type, body]) => {
  const headers = type ? { "content-type": type } : {};
  const sent = { method, mode, headers, credentials: "include" };
  if (body) sent.body = body;
  return fetch(url, sent).then((answer) => answer.type, (error) => error.name);
}
"""


def sent(page: Page, url: str, method: str, mode: str, media: str = "", body: str = "") -> Any:
    """The type of the answer that a script of the foreign site can read, or its error."""
    return page.evaluate(SEND, [url, method, mode, media, body])


def test_no_script_of_another_site_acts_or_reads(
    context: BrowserContext, link: tuple[str, str], evil: Page
) -> None:
    """It cannot even see an answer that scripts may not read; the session stays."""
    url, code = link
    person = opened(context, url, code)
    for method, path in (
        ("GET", "/api/session"),
        ("POST", "/api/action"),
        ("DELETE", "/api/session"),
    ):
        assert sent(evil, url + path, method, "cors", "application/json") == "TypeError"
    assert sent(evil, f"{url}/api/ways", "GET", "cors") == "TypeError"
    assert sent(evil, f"{url}/api/action", "POST", "no-cors", "text/plain", "{}") == "TypeError"
    person.reload()
    person.get_by_text(LIVE).first.wait_for()


def test_no_form_of_another_site_begins_a_session(
    context: BrowserContext, link: tuple[str, str], evil: Page
) -> None:
    """A good code in a form is refused, and stays good for the person."""
    url, code = link
    submit = """
    ([url, text]) => {
      const form = document.createElement("form");
      form.method = "post"; form.action = url; form.enctype = "text/plain";
      const field = document.createElement("input");
      field.name = text; form.append(field); document.body.append(form); form.submit();
    }
    """
    with evil.expect_navigation() as navigation:
        evil.evaluate(submit, [f"{url}/api/session", f'{{"code":"{code}","x":"'])
    assert navigation.value is not None
    assert navigation.value.status == 403
    opened(context, url, code)


def test_no_other_site_shows_or_loads_the_page(
    context: BrowserContext, link: tuple[str, str], evil: Page
) -> None:
    """Neither in a frame, nor as a script, nor as a window that it can reach into."""
    url, code = link
    opened(context, url, code)
    load = """
    ([name, attribute, url]) => new Promise((resolve) => {
      const element = document.createElement(name);
      element.onload = () => resolve("loaded"); element.onerror = () => resolve("refused");
      element[attribute] = url; document.body.append(element);
    })
    """
    assert evil.evaluate(load, ["script", "src", f"{url}/static/main.js"]) == "refused"
    assert evil.evaluate(load, ["img", "src", f"{url}/static/mark.svg"]) == "refused"
    evil.evaluate(load, ["iframe", "src", f"{url}/"])
    (frame,) = evil.frames[1:]
    assert frame.url in {"", "chrome-error://chromewebdata/"}
    assert "main.js" not in frame.content()
    with context.expect_page() as window:
        evil.evaluate("(url) => { globalThis.shown = window.open(url); }", f"{url}/")
    window.value.get_by_text(LIVE).first.wait_for()
    assert evil.evaluate("shown.closed")  # the browser has cut the tie


def test_a_link_of_another_site_leads_to_the_page(
    context: BrowserContext, link: tuple[str, str], evil: Page
) -> None:
    """As that of an alert in a chat does; the session is there."""
    url, code = link
    opened(context, url, code)
    evil.evaluate("(url) => { location.href = url; }", f"{url}/#/machines")
    evil.get_by_text(LIVE).first.wait_for()


def test_another_name_of_the_address_is_not_the_page(
    context: BrowserContext, link: tuple[str, str]
) -> None:
    """A foreign name that leads to this address gets no byte of it (DNS rebinding)."""
    url, _ = link
    page = context.new_page()
    answer = page.goto(f"http://rebind.test:{url.rpartition(':')[2]}/")
    assert answer is not None
    assert answer.status == 421


def test_the_cookie_alone_opens_nothing(
    browser: Browser, context: BrowserContext, link: tuple[str, str], foreign: ForeignSite
) -> None:
    """A program at another port of the host gets the cookie, and no session with it."""
    url, code = link
    opened(context, url, code)
    context.new_page().goto(f"http://127.0.0.1:{foreign.server_port}/")
    name, _, value = foreign.cookies[-1].partition("=")
    assert name == f"crewgate-{url.rpartition(':')[2]}"
    thief = browser.new_context()
    thief.add_cookies([{"name": name, "value": value, "url": url}])
    page = thief.new_page()
    with page.expect_response(f"{url}/api/session") as refused:
        page.goto(f"{url}/")
    assert refused.value.status == 401
    thief.close()
