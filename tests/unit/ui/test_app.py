"""Which requests the live page takes: from itself, with a session, and with a proof."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from page_browser import BrowserKey, PageBrowser
from page_world import URL, PageWorld
from starlette.responses import Response
from tokens import base64url

from crewgate import limits
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.json_response import encoded_response
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right
from crewgate.ui.replay.endpoints import RUNS


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return PageWorld(tmp_path)


async def test_a_session_with_proofs_reaches_the_endpoints(world: PageWorld) -> None:
    """The handler gets the person, the query and the body; nothing may be cached."""
    browser = await world.logged_in()
    answer = await browser.ask("GET", "/api/echo?crew=article")
    assert answer.status_code == 200
    assert answer.json()["query"] == {"crew": "article"}
    assert answer.json()["person"].startswith("local/")
    assert answer.headers["cache-control"] == "no-store"
    answer = await browser.ask("POST", "/api/echo", {"action": "end"})
    assert answer.json()["body"] == {"action": "end"}
    assert (await browser.ask("GET", "/api/echo?crew=a&other=b")).status_code == 400


async def test_a_person_without_a_right_cannot_fill_the_audit(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else retention would delete what the audit had before."""
    monkeypatch.setattr(limits, "ui_refusals_per_second", 1e-6)
    monkeypatch.setattr(limits, "ui_refusals_burst", 3)
    world = PageWorld(world.file.parent, endpoints=[RUNS])
    browser = await world.logged_in()
    eve = Person("person/eve", "login", {Right.VIEW: frozenset({"article"})})
    monkeypatch.setattr(world.login, "look_up", lambda _: eve)
    world.notes.clear()
    path = f"/api/runs?crew={'x' * 5000}"
    statuses = [(await browser.ask("GET", path)).status_code for _ in range(5)]
    assert statuses == [403, 403, 403, 429, 429]
    assert len(world.notes) == 3
    for note in world.notes:
        assert note.startswith("person/eve may not GET /api/runs: ")
        assert len(note) <= limits.health_text_chars_max


async def test_documents_that_nobody_reads_fill_no_memory(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person may have one of any size, or some that are small."""
    size = 3 * limits.buffer_bytes_max
    monkeypatch.setattr(limits, "ui_documents_bytes_max", size + 100)

    async def large(state: PageState, person: Person, request: PageRequest) -> Response:
        return encoded_response(bytes(size))

    world = PageWorld(world.file.parent, endpoints=[PageEndpoint("GET", "/api/large", large)])
    browser = await world.logged_in()
    name = (await browser.ask("GET", "/api/session")).json()["person"]
    hold, statuses = world.state.document_room.hold, []
    for person, held in ((name, 0), (name, 100), (name, 101), ("person/eve", 101)):
        with hold(person, held):
            answer = await browser.ask("GET", "/api/large")
        statuses.append(answer.status_code)
        assert answer.status_code == 429 or answer.content == bytes(size)
    assert statuses == [200, 200, 429, 200]
    monkeypatch.setattr(limits, "ui_documents_bytes_max", 1)
    assert (await browser.ask("GET", "/api/large")).status_code == 200


def session_of(browser: PageBrowser) -> str:
    (value,) = browser.client.cookies.values()
    return value


async def _is_refused(answer: httpx.Response, status: int = 401) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stolen_cookie_is_worthless(world: PageWorld) -> None:
    """Without a proof, with the proof of another key, or with one in which that key is swapped."""
    victim = await world.logged_in()
    thief = world.browser()
    thief.client.cookies = victim.client.cookies
    answers = [
        await thief.once("GET", "/api/echo", proof=None),
        await thief.ask("GET", "/api/echo"),
        await thief.ask("DELETE", "/api/session"),
        await thief.ask(
            "GET",
            "/api/echo",
            proof=thief.proof("GET", "/api/echo", header={"jwk": victim.key.jwk}),
        ),
    ]
    bodies = {answer.content for answer in answers}
    for answer in answers:
        await _is_refused(answer)
    assert len(bodies) == 1  # none says which check has failed
    assert (await victim.ask("GET", "/api/echo")).status_code == 200


async def test_a_proof_is_good_for_one_request_once(world: PageWorld) -> None:
    """Not for another path, method, body or site, and not a second time."""
    browser = await world.logged_in()
    body = b'{"action": "end"}'
    proof = browser.proof("POST", "/api/echo", body)
    for method, path, sent in (
        ("POST", "/api/steer", body),
        ("POST", "/api/echo", b'{"action": "and"}'),
        ("POST", "/api/echo", b""),
        ("GET", "/api/echo", b""),
    ):
        await _is_refused(await browser.once(method, path, sent or None, proof=proof))
    assert (await browser.once("POST", "/api/echo", body, proof=proof)).status_code == 200
    await _is_refused(await browser.once("POST", "/api/echo", body, proof=proof))


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "post"},
        {"htu": f"{URL}/api/echo?crew=a"},
        {"htu": "https://crewgate.example.evil.example/api/echo"},
        {"htu": "/api/echo"},
        {"bh": None},
        {"bh": "A" * 43},
        {"nonce": "of another process"},
        {"nonce": ""},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 7},
        {"header": {"typ": "jwt"}},
        {"header": {"crit": ["exp"]}},
        {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    ],
    ids=str,
)
async def test_a_bad_proof_is_refused(world: PageWorld, changes: dict[str, Any]) -> None:
    browser = await world.logged_in()
    proof = browser.proof("POST", "/api/echo", b"{}", **changes)
    await _is_refused(await browser.once("POST", "/api/echo", b"{}", proof=proof))
    assert (await browser.ask("POST", "/api/echo", {})).status_code == 200


@pytest.mark.parametrize(
    "proof",
    ["", ".", "..", "a.b.c", "é.é.é", "x" * 4096, "eyJ9.e30.AA", "." * 2048],
    ids=lambda text: text[:8],
)
async def test_no_proof_at_all_is_refused(world: PageWorld, proof: str) -> None:
    browser = await world.logged_in()
    headers = {"dpop": proof.encode("latin-1")}
    answer = await browser.client.get("/api/echo", headers=headers)
    await _is_refused(answer)


async def test_an_unsigned_proof_is_refused(world: PageWorld) -> None:
    """One that names the algorithm `none`, with the right key."""
    browser = await world.logged_in()
    _, claims, signature = browser.proof("GET", "/api/echo").split(".")
    header = {"typ": "dpop+jwt", "alg": "none", "jwk": browser.key.jwk}
    first = base64url(json.dumps(header).encode()).decode()
    for last in ("", signature):
        await _is_refused(await browser.once("GET", "/api/echo", proof=f"{first}.{claims}.{last}"))


async def test_two_proofs_are_none(world: PageWorld) -> None:
    """Two readers could take different ones."""
    browser = await world.logged_in()
    proofs = [("dpop", browser.proof("GET", "/api/echo")) for _ in range(2)]
    await _is_refused(await browser.client.get("/api/echo", headers=proofs))


async def test_a_restart_makes_no_old_proof_good(world: PageWorld, tmp_path: Path) -> None:
    """The next process has other nonces, though it knows the session."""
    browser = await world.logged_in()
    proof = browser.proof("GET", "/api/echo")
    later = PageWorld(tmp_path)
    later.sessions._sessions = world.sessions._sessions
    other = PageBrowser(later.client(cookies=browser.client.cookies), browser.key)
    other.nonce = browser.nonce
    await _is_refused(await other.once("GET", "/api/echo", proof=proof))
    assert (await other.ask("GET", "/api/echo")).status_code == 200


async def test_a_session_may_not_send_proofs_without_end(
    world: PageWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is remembered while it would be good."""
    monkeypatch.setattr(limits, "ui_proofs_of_one_max", 3)
    browser = await world.logged_in()
    seen = [(await browser.ask("GET", "/api/echo")).status_code for _ in range(4)]
    assert seen == [200, 200, 200, 429]
    assert (await (await world.logged_in()).ask("GET", "/api/echo")).status_code == 200


FOREIGN = "https://evil.example"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"origin": FOREIGN}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"origin": None}, 403),
        ("POST", {"origin": f"{URL}, {URL}"}, 403),
        ("POST", {"origin": "http://crewgate.example"}, 403),
        ("POST", {"origin": f"{URL}:8470"}, 403),
        ("POST", {"sec-fetch-site": "cross-site"}, 403),
        ("POST", {"sec-fetch-site": "same-site"}, 403),
        ("POST", {"sec-fetch-site": "none"}, 403),
        ("POST", {"content-type": "text/plain"}, 415),
        ("POST", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {"content-type": "multipart/form-data"}, 415),
        ("POST", {"content-type": None}, 415),
        ("POST", {"host": "evil.example"}, 421),
        ("POST", {"host": "127.0.0.1:8470"}, 421),
        ("POST", {"host": "crewgate.example:8470"}, 421),
        ("DELETE", {"origin": None}, 403),
        ("GET", {"origin": FOREIGN}, 403),
        ("GET", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", {"sec-fetch-site": "none"}, 403),
        (
            "GET",
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            403,
        ),
        ("GET", {"host": "evil.example"}, 421),
    ],
    ids=str,
)
async def test_a_foreign_request_is_refused(
    world: PageWorld, method: str, headers: dict[str, str | None], status: int
) -> None:
    """Even with the cookie and a good proof; no answer lets a foreign page read it."""
    browser = await world.logged_in()
    path = "/api/login" if status == 415 else "/api/session"
    body = {"key": browser.key.jwk} if method == "POST" else None
    answer = await browser.ask(method, path, body, headers=headers)
    await _is_refused(answer, status)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (await browser.ask("GET", "/api/session")).status_code == 200


async def test_a_preflight_is_refused(world: PageWorld) -> None:
    """So no foreign page may send a proof."""
    answer = await world.client().options(
        "/api/action",
        headers={"origin": FOREIGN, "access-control-request-method": "POST"},
    )
    await _is_refused(answer, 403)


async def test_links_of_other_sites_lead_to_the_page(world: PageWorld) -> None:
    """An alert in a chat has one; a frame or a script of another site is refused."""
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    client = world.client()
    assert (await client.get("/", headers=link)).status_code in {200, 404}
    for changed in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-mode": "no-cors"}):
        assert (await client.get("/", headers=link | changed)).status_code == 403
    assert (await client.get("/static/page.js", headers=link)).status_code == 403


@pytest.mark.parametrize("path", ["/", "/static/none.js", "/api/ways", "/api/echo", "/nowhere"])
async def test_each_answer_protects_the_page(world: PageWorld, path: str) -> None:
    """No frame, no foreign script, no inline script, no guess about types."""
    answer = await world.client().get(path)
    policy = answer.headers["content-security-policy"]
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in answer.headers
    if path.startswith("/api/"):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["dpop-nonce"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fREADME",
        "/static/%2e%2e/README",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static/app.py",
        "/static/__init__.py",
        "//evil.example",
    ],
)
async def test_no_path_leads_elsewhere(world: PageWorld, path: str) -> None:
    answer = await world.client().request("GET", httpx.URL(URL, raw_path=path.encode()))
    assert answer.status_code == 404, answer.text
    assert "location" not in answer.headers


async def test_logging_out_ends_the_session(world: PageWorld) -> None:
    """The cookie goes, and it is worthless if somebody has kept it."""
    browser = await world.logged_in()
    kept = session_of(browser)
    answer = await browser.ask("DELETE", "/api/session")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    browser.client.cookies.set("__Host-crewgate", kept)
    await _is_refused(await browser.ask("GET", "/api/session"))
    assert "has logged out" in world.notes[-1]


async def test_the_cookie_is_kept_from_scripts_and_other_hosts(world: PageWorld) -> None:
    browser = world.browser()
    answer = await browser.open_link(world.codes.new())
    cookie = answer.headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "__Host-crewgate"
    assert set(rest.split("; ")[1:]) == {
        f"Max-Age={limits.ui_session_seconds_default}",
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
    }
    stored = [each.stored() for each in world.sessions._sessions.values()]
    assert session_of(browser) not in repr(stored)


async def test_a_session_that_was_there_before_is_not_used(world: PageWorld) -> None:
    """An attacker who has set the cookie does not learn the id of the session (fixation)."""
    browser = world.browser()
    browser.client.cookies.set("__Host-crewgate", "chosen-by-an-attacker")
    await browser.open_link(world.codes.new())
    ids = [*browser.client.cookies.jar]
    assert {each.value for each in ids} != {"chosen-by-an-attacker"}
    attacker = world.browser(browser.key)
    attacker.client.cookies.set("__Host-crewgate", "chosen-by-an-attacker")
    await _is_refused(await attacker.ask("GET", "/api/session"))


async def test_a_link_is_good_once(world: PageWorld) -> None:
    """Neither a second browser nor a guess gets in, and the answers are the same."""
    code = world.codes.new()
    first, second = world.browser(), world.browser()
    assert (await first.open_link(code)).status_code == 200
    answers = [await second.open_link(each) for each in (code, "guess", "x" * 128)]
    for answer in answers:
        await _is_refused(answer)
    assert len({answer.content for answer in answers}) == 1
    await _is_refused(await second.open_link("x" * 129), 400)


async def test_guesses_of_a_network_are_limited(world: PageWorld) -> None:
    """And keep out nobody with a good code: another user of the machine has the same address."""
    guesser = world.browser()
    seen = [
        (await guesser.open_link("guess")).status_code for _ in range(limits.ui_logins_burst + 5)
    ]
    assert seen[0] == 401
    assert seen[-1] == 429
    code = world.codes.new()
    assert (await world.browser().open_link(code)).status_code == 200
    await _is_refused(await guesser.open_link(code), 429)  # it is good once


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-384", "x": "A" * 43, "y": "A" * 43},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
        {},
        None,
        "key",
    ],
    ids=str,
)
async def test_a_key_that_is_none_is_refused(world: PageWorld, key: Any) -> None:
    """A point that is not on the curve, and every other sort of key; the code stays good."""
    code = world.codes.new()
    browser = world.browser()
    answer = await browser.ask("POST", "/api/session", {"key": key, "code": code})
    await _is_refused(answer, 400)
    assert (await browser.open_link(code)).status_code == 200


async def test_a_private_key_is_refused(world: PageWorld) -> None:
    """A page that sends one could export it."""
    key = {**BrowserKey().jwk, "d": "A" * 43}
    await _is_refused(await world.browser().ask("POST", "/api/session", {"key": key}), 400)


async def test_a_refused_action_is_in_the_audit(world: PageWorld) -> None:
    """With the person and the reason."""
    browser = await world.logged_in()
    assert (await browser.ask("POST", "/api/steer", {})).status_code == 200
    (session,) = world.sessions._sessions.values()
    person = session.person
    session.person = type(person)("person/eve", "login")  # type: ignore[misc]
    await _is_refused(await browser.ask("POST", "/api/steer", {}))
    assert world.login.look_up(session) == "ended"


async def test_ways_need_no_session(world: PageWorld) -> None:
    answer = await world.client().get("/api/ways")
    assert answer.json() == {"login": "", "certificate": False, "link": True, "machine": "gw-1"}
    await _is_refused(
        await world.browser().ask("POST", "/api/login", {"key": BrowserKey().jwk}), 404
    )


async def test_methods_are_those_that_exist(world: PageWorld) -> None:
    browser = await world.logged_in()
    for method, path in (("PUT", "/api/session"), ("HEAD", "/api/session"), ("POST", "/")):
        answer = await browser.ask(method, path)
        assert answer.status_code == 405


async def test_who_has_the_session(world: PageWorld) -> None:
    browser = await world.logged_in()
    found = (await browser.ask("GET", "/api/session")).json()
    assert found["how"] == "local"
    assert found["rights"] == {each: ["*"] for each in ("view", "operate", "budget", "ca")}
    assert found["crews"] == ["article", "bd"]
    assert found["machine"] == "gw-1"
    (session,) = world.sessions._sessions.values()
    assert found["ends"] == session.begun + limits.ui_session_seconds_default
    assert json.dumps(found).count(session_of(browser)) == 0


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/main.js", "text/javascript; charset=utf-8"),
        ("/static/base.css", "text/css; charset=utf-8"),
        ("/static/mark.svg", "image/svg+xml"),
    ],
)
async def test_the_files_have_fixed_types_and_are_asked_for_again(
    world: PageWorld, path: str, media: str
) -> None:
    """A browser has the new file after an upgrade, and loads an old one once."""
    client = world.client()
    first = await client.get(path)
    assert first.status_code == 200
    assert first.headers["content-type"] == media
    assert first.headers["cache-control"] == "no-cache"
    assert "set-cookie" not in first.headers
    tag = first.headers["etag"]
    for known in (tag, f'W/{tag}, "other"'):
        again = await client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["content-security-policy"]
    other = await client.get(path, headers={"if-none-match": '"other"'})
    assert other.content == first.content
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
