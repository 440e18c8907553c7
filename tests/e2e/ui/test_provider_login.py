"""A person logs in to the live page in a real browser, at a real OpenID provider."""

import os
import signal
import ssl
from collections.abc import Iterator

import pytest
from browsers import needs_chromium, sign_in
from installation import Installation, wait_until
from live_page_process import answers, serve_page
from oidc_provider import Provider, provider
from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = needs_chromium
LIVE = "live ·"
ACCESS = """
[ui.access.oncall]
groups = ["sre"]
rights = ["operate"]
"""


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as found:
        found.know("grace", groups=["sre"])
        yield found


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, identity: Provider
) -> Iterator[tuple[Installation, str]]:
    """A gateway with a page for people, and the URL of the page."""
    site = Installation(tmp_path_factory.mktemp("page"), workers=1)
    try:
        site.serve()
        yield site, serve_page(site, identity, ACCESS)
    finally:
        site.end()


@pytest.fixture(scope="module")
def secure(site: tuple[Installation, str]) -> str:
    """The URL of the page, from now on over TLS with a certificate of the internal CA."""
    installation, url = site
    pair = installation.folder / "certs" / "server"
    installation.run("ca", "issue", "--role", "server", "--host", "127.0.0.1", "--out", str(pair))
    installation.edit(
        "[ui]\n", '[ui]\ncertificate = "certs/server.pem"\nkey = "certs/server.key"\n'
    )
    trust = ssl.create_default_context(cafile=str(installation.folder / "certs" / "ca.pem"))
    url = url.replace("http:", "https:")
    wait_until(lambda: answers(url, trust))
    return url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that trusts the certificate of the provider."""
    found = browser.new_context(ignore_https_errors=True)
    yield found
    found.close()


def signed_in(context: BrowserContext, place: str, person: str) -> Page:
    """A window in which a person has signed in at the provider, at a place of the page."""
    page = context.new_page()
    sign_in(page, place, person)
    return page


def test_a_person_logs_in_and_comes_back_to_the_place(
    context: BrowserContext, site: tuple[Installation, str]
) -> None:
    """The cookies are those that scripts cannot read, and the session survives a reload."""
    _, url = site
    page = signed_in(context, f"{url}/#/machines", "grace")
    page.get_by_text(LIVE).first.wait_for()
    assert page.url == f"{url}/#/machines"
    page.reload()
    page.get_by_text(LIVE).first.wait_for()
    assert page.evaluate("document.cookie") == ""
    (cookie,) = (each for each in context.cookies(url) if each["name"].startswith("crewgate-"))
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"


def test_a_person_without_rights_is_told(
    context: BrowserContext, site: tuple[Installation, str]
) -> None:
    _, url = site
    page = signed_in(context, url, "eve")
    page.get_by_text("no rights").first.wait_for()
    assert not [each for each in context.cookies(url) if each["name"] == "crewgate"]


def test_rights_that_vanish_end_the_open_page(
    context: BrowserContext, site: tuple[Installation, str]
) -> None:
    """While it is connected, and without a restart; with the rights back, the person logs in."""
    installation, url = site
    page = signed_in(context, url, "grace")
    page.get_by_text(LIVE).first.wait_for()
    installation.edit('groups = ["sre"]', 'groups = ["other"]')
    page.get_by_role("button", name="Sign in with").wait_for()
    installation.edit('groups = ["other"]', 'groups = ["sre"]')


def test_a_restart_of_the_process_ends_no_session(
    context: BrowserContext, site: tuple[Installation, str]
) -> None:
    """The page connects again by itself, with proofs of new nonces."""
    installation, url = site
    wait_until(lambda: 'groups = ["sre"]' in installation.file.read_text())
    page = sign_in_until_let_in(context, url)
    (before,) = installation.children("ui")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: installation.children("ui") not in ([], [before]))
    page.get_by_text(LIVE).first.wait_for()
    page.reload()
    page.get_by_text(LIVE).first.wait_for()


def test_over_tls_a_cookie_is_of_this_host_alone(context: BrowserContext, secure: str) -> None:
    """The page moves to TLS without a restart; the browser speaks HTTP/2 with it."""
    page = sign_in_until_let_in(context, secure)
    (cookie,) = (each for each in context.cookies(secure) if each["name"] == "__Host-crewgate")
    assert cookie["secure"]
    assert cookie["httpOnly"]
    version = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert page.evaluate(version) == "h2"


def sign_in_until_let_in(context: BrowserContext, url: str) -> Page:
    """Sign in; the process may not have loaded the rights that came back."""
    while True:
        page = signed_in(context, url, "grace")
        page.get_by_text(LIVE).or_(page.get_by_text("no rights")).first.wait_for()
        if page.get_by_text(LIVE).count():
            return page
        page.close()
