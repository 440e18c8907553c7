"""The live page of a whole gateway: its process, its logins, and its foreground command."""

import os
import signal
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
from command_process import crewgate
from installation import Installation, wait_until
from live_page_process import answers, foreground, serve_page
from oidc_provider import Provider, provider
from page_browser import PageBrowser

from crewgate.demo.ports import reserve

REST = """username_claim = "email"
scopes = ["openid", "email"]
[ui.access.oncall]
groups = ["sre"]
rights = ["operate"]
[ui.access.article]
people = ["ada@example.com"]
crews = ["article"]
"""


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as found:
        found.know("ada", email="ada@example.com", email_verified=True)
        found.know("grace", email="grace@example.com", email_verified=True, groups=["sre", "dev"])
        found.know("eve", email="eve@example.com", email_verified=True, groups=["dev"])
        found.know("mallory", email="ada@example.com", email_verified=False)
        yield found


@pytest.fixture(scope="module")
def page(site: Installation, identity: Provider) -> str:
    """The URL of the page that `crewgate serve` runs."""
    return serve_page(site, identity, REST)


def browser_at(url: str, context: ssl.SSLContext | None = None) -> PageBrowser:
    """A browser that closes each connection after an answer."""
    none_kept = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(
        base_url=url, verify=context or True, limits=none_kept, timeout=60, trust_env=False
    )
    return PageBrowser(client)


async def logged_in(url: str, identity: Provider, person: str) -> PageBrowser:
    browser = browser_at(url)
    answer = await browser.come_back(identity.consent(await browser.log_in(patient=True), person))
    assert answer.headers["location"] == "/", answer.headers["location"]
    return browser


async def test_a_link_opens_the_page_once(site: Installation) -> None:
    """On a free port; the agent's user has all rights, and the audit says who."""
    with foreground(site) as (url, code):
        assert url.startswith("http://127.0.0.1:")
        browser, late = browser_at(url), browser_at(url)
        answer = await browser.open_link(code)
        assert answer.status_code == 200
        assert answer.json()["rights"]["ca"] == ["*"]
        assert "Secure" not in answer.headers["set-cookie"]
        assert (await late.open_link(code)).status_code == 401
        assert (await browser.ask("GET", "/api/session")).status_code == 200
    noted = [each["detail"] for each in site.records() if each.get("event") == "ui"]
    assert any("has logged in to the live page from 127.0.0.0/24" in each for each in noted)
    assert not any(code in each for each in noted)


async def test_people_log_in_at_the_provider(page: str, identity: Provider) -> None:
    """Rights come by name and by group, each for its crews; everybody else stays out."""
    ada = await logged_in(page, identity, "ada")
    found = (await ada.ask("GET", "/api/session")).json()
    assert (found["person"], found["how"]) == ("person/ada@example.com", "login")
    assert found["rights"] == {"view": ["article"], "operate": [], "budget": [], "ca": []}
    grace = await logged_in(page, identity, "grace")
    assert (await grace.ask("GET", "/api/session")).json()["rights"]["operate"] == ["*"]
    for person, why in (("eve", "no-rights"), ("mallory", "invalid")):
        browser = browser_at(page)
        answer = await browser.come_back(
            identity.consent(await browser.log_in(patient=True), person)
        )
        assert answer.headers["location"] == f"/#/login-failed?why={why}"
        assert (await browser.ask("GET", "/api/session")).status_code == 401


async def test_a_way_back_is_good_once_and_in_its_browser(page: str, identity: Provider) -> None:
    """Nobody can log another person in (login CSRF), and no code is used twice."""
    expired = "/#/login-failed?why=expired"
    attacker, victim = browser_at(page), browser_at(page)
    location = identity.consent(await attacker.log_in(), "grace")
    assert (await victim.come_back(location)).headers["location"] == expired
    await victim.log_in()  # now with a cookie of its own
    assert (await victim.come_back(location)).headers["location"] == expired
    assert (await attacker.come_back(location)).headers["location"] == "/"
    assert (await attacker.come_back(location)).headers["location"] == expired
    denied = browser_at(page)
    location = identity.consent(await denied.log_in(), "ada", "deny")
    where = f"/login/callback?{location.partition('?')[2]}"
    assert (await denied.come_back(where)).headers["location"].startswith("/#/login-failed?why=")


async def test_a_session_survives_the_process_and_a_logout_its_death(
    page: str, site: Installation, identity: Provider
) -> None:
    """SIGKILL right after the answer undoes no logout."""
    kept = await logged_in(page, identity, "grace")
    left = await logged_in(page, identity, "grace")
    cookies = httpx.Cookies(left.client.cookies)
    assert (await left.ask("DELETE", "/api/session")).status_code == 204
    (process,) = site.children("ui")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: site.children("ui") not in ([], [process]))
    wait_until(lambda: answers(page))
    assert (await kept.ask("GET", "/api/session")).status_code == 200
    left.client.cookies = cookies
    assert (await left.ask("GET", "/api/session")).status_code == 401
    stored = (site.folder / "state" / "ui" / "sessions.json").read_text()
    for value in (*kept.client.cookies.values(), *cookies.values()):
        assert value not in stored


async def test_rights_end_with_the_configuration(
    page: str, site: Installation, identity: Provider
) -> None:
    """At once, without a restart of the process, and the session with the last of them."""
    ada = await logged_in(page, identity, "ada")
    (process,) = site.children("ui")
    site.edit('people = ["ada@example.com"]', 'people = ["nobody@example.com"]')
    try:
        # So many requests may be too many for a while: 429.
        while (await ada.ask("GET", "/api/session")).status_code != 401:
            pass
    finally:
        site.edit('people = ["nobody@example.com"]', 'people = ["ada@example.com"]')
    assert site.children("ui") == [process]
    again = await logged_in_soon(page, identity)
    assert (await again.ask("GET", "/api/session")).status_code == 200
    assert (await ada.ask("GET", "/api/session")).status_code == 401


async def logged_in_soon(page: str, identity: Provider) -> PageBrowser:
    """Ada's session, once the configuration lets her in again."""
    while True:
        browser = browser_at(page)
        answer = await browser.come_back(
            identity.consent(await browser.log_in(patient=True), "ada")
        )
        if answer.headers["location"] == "/":
            return browser


def test_the_page_is_a_component_of_the_health(page: str, site: Installation) -> None:
    """And `check` names what keeps people from logging in."""
    wait_until(lambda: not _troubles(site))
    site.edit('client_secret = "ui.secret"', 'client_secret = "none.secret"')
    assert "[ui.login] client_secret" in crewgate("check", "-c", str(site.file)).stdout
    site.edit('client_secret = "none.secret"', 'client_secret = "ui.secret"')


def _troubles(site: Installation) -> list[str]:
    found = site.ask("status")["health"]
    return [each["component"] for each in found if each["state"] != "ok"]


async def test_a_page_of_a_link_is_apart_from_that_of_people(
    page: str, site: Installation, identity: Provider
) -> None:
    """Both run at once, each with its own port, sessions and audit file."""
    port = reserve()
    with foreground(site, "--port", str(port)) as (url, code):
        assert url == f"http://127.0.0.1:{port}" != page
        local = browser_at(url)
        assert (await local.open_link(code)).status_code == 200
        assert (await local.ask("GET", "/api/session")).json()["how"] == "local"
        ada = await logged_in(page, identity, "ada")
        ada.url, ada.client.base_url = url, httpx.URL(url)
        assert (await ada.ask("GET", "/api/session")).status_code == 401
        ways = await browser_at(page).ask("GET", "/api/ways", proof=None)
        assert not ways.json()["link"]
    wait_until(lambda: not _troubles(site))


OPERATORS = """
[ui]
port = {port}
certificate = "certs/server.pem"
key = "certs/server.key"
client_certificate = "optional"
"""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    """A gateway with a page over TLS, for operators, and the URL of the page."""
    site = Installation(tmp_path_factory.mktemp("operators"), workers=1)
    port = reserve()
    with site.file.open("a") as file:
        file.write(OPERATORS.format(port=port))
    site.run(
        "ca", "issue", "--role", "server", "--host", "127.0.0.1", "--out",
        str(site.folder / "certs" / "server"),
    )  # fmt: skip
    try:
        site.serve()
        url = f"https://127.0.0.1:{port}"
        wait_until(lambda: answers(url, _holder(site)))
        yield site, url
    finally:
        site.end()


def _holder(site: Installation, name: str = "", role: str = "operator") -> ssl.SSLContext:
    """A client, with the certificate of somebody or none."""
    context = ssl.create_default_context(cafile=str(site.folder / "certs" / "ca.pem"))
    if name:
        pair = site.folder / "certs" / name
        more = ("--crew", "article") if role == "orchestrator" else ()
        if not pair.with_suffix(".pem").exists():
            site.run("ca", "issue", "--role", role, "--name", name, *more, "--out", str(pair))
        context.load_cert_chain(pair.with_suffix(".pem"), pair.with_suffix(".key"))
    return context


async def test_an_operator_logs_in_with_a_certificate(secure: tuple[Installation, str]) -> None:
    """And the session is good only with it: a thief of cookie and key lacks the certificate."""
    site, url = secure
    ada = browser_at(url, _holder(site, "ada"))
    key = {"key": ada.key.jwk}
    answer = await ada.ask("POST", "/api/session", key)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["person"], answer.json()["how"]) == ("operator/ada", "certificate")
    assert "__Host-crewgate" in answer.headers["set-cookie"]
    for context in (_holder(site), _holder(site, "bob")):
        thief = browser_at(url, context)
        thief.key, thief.client.cookies = ada.key, ada.client.cookies
        assert (await thief.ask("GET", "/api/session")).status_code == 401
    nobody = browser_at(url, _holder(site))
    assert (await nobody.ask("POST", "/api/session", key)).status_code == 401
    assert (await ada.ask("GET", "/api/session")).status_code == 200


async def test_only_operators_are_admitted(secure: tuple[Installation, str]) -> None:
    """An orchestrator with a certificate of the same CA reads not even the page."""
    site, url = secure
    browser = browser_at(url, _holder(site, "bd", "orchestrator"))
    with pytest.raises(httpx.TransportError):
        await browser.ask("GET", "/api/ways")
    refused = [each for each in site.records() if each.get("listener") == "ui"]
    assert {each["reason"] for each in refused} == {"role-not-admitted"}


async def test_a_revoked_operator_is_cut_off(secure: tuple[Installation, str]) -> None:
    """The open connection is closed, and no other one is admitted."""
    site, url = secure
    eve = browser_at(url, _holder(site, "eve"))
    client = httpx.AsyncClient(base_url=url, verify=_holder(site, "eve"), trust_env=False)
    async with client:
        kept = PageBrowser(client, eve.key)
        answer = await kept.ask("POST", "/api/session", {"key": kept.key.jwk})
        assert answer.status_code == 200, answer.text
        site.run("ca", "revoke", str(site.folder / "certs" / "eve.pem"))
        with pytest.raises(httpx.TransportError):
            await _ask_again_and_again(kept)
    wait_until(lambda: "expelled" in _verdicts(site))
    with pytest.raises(httpx.TransportError):
        await _ask_again_and_again(eve)


async def _ask_again_and_again(browser: PageBrowser) -> None:
    while True:
        await browser.ask("GET", "/api/session")


def _verdicts(site: Installation) -> set[str]:
    return {each["verdict"] for each in site.records() if each.get("listener") == "ui"}


def test_a_new_certificate_is_shown_to_new_connections(secure: tuple[Installation, str]) -> None:
    """As soon as its files have changed, while the process goes on."""
    site, url = secure
    before, (process,) = _shown(url), site.children("ui")
    made = site.folder / "certs" / "next"
    site.run("ca", "issue", "--role", "server", "--host", "127.0.0.1", "--out", str(made))
    for kind in (".key", ".pem"):
        made.with_suffix(kind).replace(site.folder / "certs" / f"server{kind}")
    wait_until(lambda: _shown(url) != before)
    assert answers(url, _holder(site))
    assert site.children("ui") == [process]


def _shown(url: str) -> str:
    """The certificate that the page shows."""
    port = int(url.rpartition(":")[2])
    return ssl.get_server_certificate(("127.0.0.1", port))


async def test_the_page_moves_with_the_configuration(secure: tuple[Installation, str]) -> None:
    """Sessions go on at the new port; a port that is taken changes nothing."""
    site, url = secure
    ada = browser_at(url, _holder(site, "ada"))
    answer = await ada.ask("POST", "/api/session", {"key": ada.key.jwk})
    assert answer.status_code == 200
    before, after = url.rpartition(":")[2], reserve()
    (process,) = site.children("ui")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.edit(f"port = {before}", f"port = {port}")
        log = site.folder / "serve.log"
        wait_until(lambda: f"cannot listen on 127.0.0.1 port {port}" in log.read_text())
        assert (await ada.ask("GET", "/api/session")).status_code == 200
        site.edit(f"port = {port}", f"port = {after}")
    moved = f"https://127.0.0.1:{after}"
    wait_until(lambda: answers(moved, _holder(site)))
    assert not answers(url, _holder(site))
    ada.url, ada.client.base_url = moved, httpx.URL(moved)
    assert (await ada.ask("GET", "/api/session")).status_code == 200
    assert site.children("ui") == [process]
