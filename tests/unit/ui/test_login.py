"""Who gets a session by a login at a provider, and which answers of a provider give none."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from identity_provider_world import KEYS, id_token
from page_browser import BrowserKey, PageBrowser
from page_world import URL, PageWorld
from scripted_provider import ScriptedProvider, scripted_provider

from crewgate import limits
from crewgate.server.request import ClientInfo

SIGNED_IN = {"sub": "ada"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedProvider]:
    with scripted_provider(tmp_path_factory.mktemp("provider")) as found:
        yield found


@pytest.fixture
def provider(server: ScriptedProvider) -> Iterator[ScriptedProvider]:
    """With nothing changed."""
    server.metadata, server.claims, server.header = {}, {}, {}
    server.kid, server.token, server.answer, server.redirect = "rsa-1", None, None, ""
    server.forms.clear()
    server.is_asked.clear()
    yield server
    server.may_answer.set()


@pytest.fixture
def world(tmp_path: Path, provider: ScriptedProvider) -> PageWorld:
    return PageWorld(tmp_path, provider.tables)


async def end_of(world: PageWorld, provider: ScriptedProvider, **changes: str | None) -> str:
    """Where a login leads; a session is there exactly if it leads to the page."""
    browser = world.browser()
    answer = await browser.come_back(provider.consent(await browser.log_in(), **changes))
    assert answer.status_code == 303
    where = answer.headers["location"]
    has_session = (await browser.ask("GET", "/api/session")).status_code == 200
    assert has_session == (where == "/")
    return str(where).removeprefix("/#/login-failed?why=")


async def test_a_login_gives_a_session_with_rights(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """The request is that of the code flow with PKCE; the audit says who has come, from where."""
    browser = world.browser()
    url = await browser.log_in()
    assert url.startswith(f"{provider.issuer}/authorize?tenant=1&response_type=code&")
    for part in ("client_id=crewgate", "scope=openid&", "code_challenge_method=S256"):
        assert part in url
    answer = await browser.come_back(provider.consent(url))
    assert answer.headers["location"] == "/"
    found = (await browser.ask("GET", "/api/session")).json()
    assert found["rights"] == {"view": ["article"], "operate": [], "budget": [], "ca": []}
    assert found["crews"] == ["article"]
    assert world.notes == ["person/ada has logged in to the live page from 192.0.2.0/24"]
    ((form, authorization),) = provider.forms
    assert (form["client_id"], form["redirect_uri"]) == ("crewgate", f"{URL}/login/callback")
    assert authorization == ""


async def test_the_secret_of_the_client_goes_by_basic(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    """Encoded as RFC 6749 asks, and never in the form."""
    secret = tmp_path / "ui.secret"
    tables = provider.tables.replace("client_id", 'client_secret = "ui.secret"\nclient_id')
    world = PageWorld(tmp_path, tables)
    secret.write_text("s3cret:with/+signs\n")
    assert await end_of(world, provider) == "/"
    ((form, authorization),) = provider.forms
    assert authorization == "Basic Y3Jld2dhdGU6czNjcmV0JTNBd2l0aCUyRiUyQnNpZ25z"
    assert "client_id" not in form
    assert "s3cret" not in json.dumps(form)


class In(NamedTuple):
    """A time so many seconds from now."""

    seconds: int


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["crewgate", "another-client"]},
        {"aud": []},
        {"azp": "another-client"},
        {"nonce": None},
        {"nonce": "of another login"},
        {"nonce": 7},
        {"nonce": "\ud800"},
        {"exp": In(-3600)},
        {"iat": In(-3600)},
        {"iat": In(3600)},
        {"nbf": In(3600)},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 121},
        {"sub": "ada\n"},
        {"sub": " ada"},
        {"sub": "ada\x1b[2J"},
        {"sub": "a\u202eda"},
        {"groups": {"sre": True}},
        {"groups": ["sre", 7]},
        {"groups": [f"group-{number}" for number in range(257)]},
        {"events": {}},
    ],
    ids=str,
)
async def test_a_bad_id_token_gives_no_session(
    world: PageWorld, provider: ScriptedProvider, claims: dict[str, Any]
) -> None:
    """Of another issuer, client or login, or without a usable name."""
    now = int(time.time())
    provider.claims = {
        name: now + value.seconds if isinstance(value, In) else value
        for name, value in claims.items()
    }
    assert await end_of(world, provider) == "invalid"
    assert not world.notes


@pytest.mark.parametrize(
    "header",
    [{"typ": "at+jwt"}, {"typ": "logout+jwt"}, {"kid": "unknown"}, {"crit": ["b64"]}],
    ids=str,
)
async def test_another_sort_of_token_gives_no_session(
    world: PageWorld, provider: ScriptedProvider, header: dict[str, Any]
) -> None:
    """The provider signs access tokens and logout tokens with the same keys."""
    provider.header = header
    assert await end_of(world, provider) == "invalid"


async def test_a_forged_token_gives_no_session(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Unsigned, with the public key as a secret, or signed by another key."""
    now = int(time.time())
    good = {"iss": provider.issuer, "aud": "crewgate", "iat": now, "exp": now + 300, "sub": "ada"}
    for token in (
        jwt.encode(good, None, "none"),
        jwt.encode(good, "a secret of 32 bytes, or a few more", "HS256", {"kid": "rsa-1"}),
        jwt.encode(good, KEYS["ec-1"][0], "ES256", {"kid": "rsa-1"}),
        id_token("rsa-1", **good) + "AAAA",
        "",
        "a.b.c",
    ):
        provider.token = token or "."
        assert await end_of(world, provider) == "invalid"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "invalid"),
        ({"state": None}, "expired"),
        ({"state": "guess"}, "expired"),
        ({"state": ""}, "expired"),
        ({"code": None}, "refused"),
        ({"code": None, "error": "access_denied"}, "refused"),
        ({"error": "access_denied"}, "refused"),
        ({"session_state": "more", "iss": None}, "/"),
    ],
    ids=str,
)
async def test_the_way_back_must_be_that_of_the_login(
    world: PageWorld, provider: ScriptedProvider, changes: dict[str, str | None], why: str
) -> None:
    """Parameters that the provider adds do no harm (RFC 6749, section 4.1.2)."""
    provider.claims = SIGNED_IN
    assert await end_of(world, provider, **changes) == why


async def test_a_provider_that_names_itself_must_do_so(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Else an answer of another provider could pass for one of it (RFC 9207)."""
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    assert await end_of(world, provider, iss=None) == "invalid"
    assert await end_of(world, provider) == "/"


@pytest.mark.parametrize(
    "query",
    ["", "?", "?code=a&code=b&state=c", "?state=%ff", "?state=é", "?%00", "?" + "&a=b" * 30],
    ids=repr,
)
async def test_a_malformed_way_back_leads_to_the_page(world: PageWorld, query: str) -> None:
    answer = await world.browser().come_back(f"{URL}/login/callback{query}")
    assert answer.headers["location"] in {
        "/#/login-failed?why=invalid",
        "/#/login-failed?why=expired",
    }


async def test_a_state_is_good_once_and_in_its_browser(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Another browser, with its own attempt or none, cannot use it, nor use it up."""
    victim, attacker, other = world.browser(), world.browser(), world.browser()
    location = provider.consent(await victim.log_in())
    await other.log_in()
    for each in (attacker, other):
        answer = await each.come_back(location)
        assert answer.headers["location"] == "/#/login-failed?why=expired"
    assert (await victim.come_back(location)).headers["location"] == "/"
    again = await victim.come_back(location)
    assert again.headers["location"] == "/#/login-failed?why=expired"
    assert len(provider.forms) == 1


async def test_the_session_is_of_the_key_that_began(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Whoever takes the cookie from the way back lacks the key."""
    browser = world.browser()
    location = provider.consent(await browser.log_in())
    browser.key, own = BrowserKey(), browser.key
    assert (await browser.come_back(location)).headers["location"] == "/"
    assert (await browser.ask("GET", "/api/session")).status_code == 401
    browser.key = own
    assert (await browser.ask("GET", "/api/session")).status_code == 200


async def test_the_cookies_of_the_attempt(world: PageWorld, provider: ScriptedProvider) -> None:
    """Lax, because the way back comes from another site; gone after it."""
    browser = world.browser()
    answer = await browser.ask("POST", "/api/login", {"key": browser.key.jwk})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-crewgate-login=")
    assert cookie.endswith("; Max-Age=600; Path=/; Secure; HttpOnly; SameSite=Lax")
    back = await browser.come_back(provider.consent(answer.json()["url"]))
    cleared, session = back.headers.get_list("set-cookie")
    assert cleared.startswith("__Host-crewgate-login=; Max-Age=0;")
    assert session.startswith("__Host-crewgate=")
    assert back.headers["cache-control"] == "no-store"


async def test_rights_come_from_the_configuration_of_now(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """By name or by group; each change counts at the next request, and without a right it ends."""
    provider.claims = {"sub": "grace", "groups": ["dev", "sre"]}
    browser = world.browser()
    await browser.come_back(provider.consent(await browser.log_in()))

    async def rights() -> Any:
        answer = await browser.ask("GET", "/api/session")
        return answer.json()["rights"] if answer.status_code == 200 else answer.status_code

    assert (await rights())["operate"] == ["*"]
    world.edit('rights = ["operate"]', 'rights = ["budget"]\ncrews = ["bd"]')
    assert await rights() == {"view": ["bd"], "operate": [], "budget": ["bd"], "ca": []}
    world.edit('people = ["ada"]', 'people = ["ada", "grace"]')
    assert (await rights())["view"] == ["article", "bd"]
    world.edit('groups = ["sre"]', 'groups = ["other"]')
    world.edit('people = ["ada", "grace"]', 'people = ["ada"]')
    assert await rights() == 401
    world.edit('groups = ["other"]', 'groups = ["sre"]')
    assert await rights() == 401  # the session is over, not only its rights


async def test_a_name_of_another_provider_is_another_person(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Who was `ada` at one provider is nobody after the configuration names another."""
    browser = world.browser()
    await browser.come_back(provider.consent(await browser.log_in()))
    assert (await browser.ask("GET", "/api/session")).status_code == 200
    world.edit('client_id = "crewgate"', 'client_id = "other"')
    assert (await browser.ask("GET", "/api/session")).status_code == 401


async def test_an_email_must_be_verified(tmp_path: Path, provider: ScriptedProvider) -> None:
    """At some providers, people write into this claim what they like."""
    tables = provider.tables.replace("client_id", 'username_claim = "email"\nclient_id')
    world = PageWorld(tmp_path, tables.replace('people = ["ada"]', 'people = ["ada@example.com"]'))
    for claims, why in (
        ({"email": "ada@example.com"}, "invalid"),
        ({"email": "ada@example.com", "email_verified": False}, "invalid"),
        ({"email": "ada@example.com", "email_verified": "true"}, "invalid"),
        ({"email": "eve@example.com", "email_verified": True}, "no-rights"),
        ({"email": "ada@example.com", "email_verified": True}, "/"),
    ):
        provider.claims = claims
        assert await end_of(world, provider) == why
    assert world.notes[0] == "person/eve@example.com has no right on the live page: login refused"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://localhost/token"},
        {"token_endpoint": "https://user@localhost/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https:///path"},
        {"authorization_endpoint": "https://id.example/#fragment"},
        {"authorization_endpoint": "https://id.example/ blank"},
        {"authorization_endpoint": "https://[id.example/"},
        {"jwks_uri": 7},
        {"code_challenge_methods_supported": ["plain"]},
        {"padding": "x" * 300_000},
    ],
    ids=lambda changes: str(changes)[:60],
)
async def test_bad_metadata_lead_nowhere(
    world: PageWorld, provider: ScriptedProvider, metadata: dict[str, Any]
) -> None:
    """Nobody is sent to another place, and the health says why nobody can log in."""
    provider.metadata = metadata
    answer = await world.browser().ask("POST", "/api/login", {"key": BrowserKey().jwk})
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/login-unavailable")
    found = world.login.provider
    assert found is not None
    assert found.problem


async def test_no_redirect_of_the_provider_is_followed(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """It could lead to a server that only this machine reaches."""
    provider.redirect = f"{provider.issuer}/other"
    answer = await world.browser().ask("POST", "/api/login", {"key": BrowserKey().jwk})
    assert answer.status_code == 503


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, b'{"error": "invalid_grant"}'), "unavailable"),
        ((500, b""), "unavailable"),
        ((302, b""), "unavailable"),
        ((200, b"x" * 300_000), "unavailable"),
        ((200, b""), "invalid"),
        ((200, b"{}"), "invalid"),
        ((200, b'{"id_token": 7}'), "invalid"),
        ((200, b"[" * 100_000), "invalid"),
        ((200, b'{"id_token": "' + b"x" * 20_000 + b'"}'), "invalid"),
    ],
    ids=lambda given: str(given)[:40],
)
async def test_a_bad_answer_to_the_code_gives_no_session(
    world: PageWorld, provider: ScriptedProvider, answer: tuple[int, bytes], why: str
) -> None:
    provider.answer = answer
    assert await end_of(world, provider) == why


async def test_the_log_has_the_error_code_of_the_provider(
    world: PageWorld, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what to mend, and is the only text of the answer that is logged."""
    provider.answer = 401, b'{"error": "invalid_client", "error_description": "s3cret"}'
    assert await end_of(world, provider) == "unavailable"
    provider.answer = 400, b'{"error": "S3CRET\\n"}'
    assert await end_of(world, provider) == "unavailable"
    assert "the answer has status 401 (invalid_client)" in caplog.text
    assert "s3cret" not in caplog.text.lower()


async def test_attempts_without_end_keep_no_other_network_out(
    world: PageWorld, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network has a share; the oldest attempt of too many ends."""
    monkeypatch.setattr(limits, "ui_logins_burst", 100)
    monkeypatch.setattr(limits, "ui_attempts_of_one_max", 4)
    honest = world.browser(peer=ClientInfo("198.51.100.7", 1))
    location = provider.consent(await honest.log_in())
    flood = world.browser()
    first = provider.consent(await flood.log_in())
    cookies = dict(flood.client.cookies)
    for _ in range(10):
        await flood.log_in()
    assert len(world.login._attempts) == 5
    late = PageBrowser(world.client(cookies=cookies), flood.key)
    assert (await late.come_back(first)).headers["location"].endswith("expired")
    assert (await honest.come_back(location)).headers["location"] == "/"


async def test_attempts_of_all_networks_are_bounded(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ui_attempts_max", 8)
    for number in range(20):
        await world.browser(peer=ClientInfo(f"198.51.{number}.7", 1)).log_in()
    assert len(world.login._attempts) == 8


async def test_a_network_that_tries_again_and_again_must_wait(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """And no request of it reaches the provider meanwhile."""
    browser = world.browser()
    for _ in range(limits.ui_logins_burst):
        await browser.log_in()
    answer = await browser.ask("POST", "/api/login", {"key": browser.key.jwk})
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    await world.browser(peer=ClientInfo("198.51.100.7", 1)).log_in()


async def test_an_attempt_ends_with_its_time(
    world: PageWorld, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ui_attempt_seconds", 0)
    assert await end_of(world, provider) == "expired"
    assert not provider.forms


async def test_a_full_disk_lets_nobody_in(
    tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that a restart would forget is none; the person may try again."""
    (tmp_path / "state").write_text("a file, where the folder should be")
    world = PageWorld(tmp_path, provider.tables, path=tmp_path / "state" / "ui" / "sessions.json")
    assert await end_of(world, provider) == "unavailable"
    assert len(world.sessions) == 0
    assert world.sessions.problem
