"""The table [ui]: where the page is, who logs in there, and what contradicts itself."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from crewgate.config import load
from crewgate.config.restart_only import wants_restart
from crewgate.config.ui import UIRight
from crewgate.core.actors import RESERVED_CREW_NAMES
from crewgate.errors import ConfigurationError
from crewgate.ui.person import Right

Write = Callable[[str], Path]
CREW = """
[crew.article]
issuer = "https://orchestrator.example"
jwks = "jwks.json"
tools = ["search.*"]
"""
LOGIN = '[ui.login]\nissuer = "https://id.example"\nclient_id = "crewgate"\n'
ACCESS = '[ui.access.oncall]\ngroups = ["sre"]\n'
TLS = 'certificate = "ui.pem"\nkey = "ui.key"\n'


def test_every_key_arrives(write: Write, minimal: str, tmp_path: Path) -> None:
    """A change needs no restart."""
    text = """
        [ui]
        address = "0.0.0.0"
        port = 8470
        certificate = "ui.pem"
        key = "ui.key"
        url = "https://Crewgate.Example:443/"
        session_seconds = 3600
        idle_seconds = 600
        client_certificate = "optional"
        [ui.login]
        issuer = "https://id.example/tenant/"
        client_id = "crewgate"
        client_secret = "ui.secret"
        username_claim = "email"
        groups_claim = "roles"
        scopes = ["openid", "email"]
        algorithms = ["ES256"]
        ca = "provider.pem"
        [ui.access.oncall]
        groups = ["sre"]
        people = ["ada@example.com", "Grace Hopper"]
        rights = ["view", "operate"]
        crews = ["article"]
        [ui.access.all]
        groups = ["staff"]
    """
    ca = '[ca]\nfolder = "ca"\ntrust_domain = "example"\n'
    config = load(write(minimal + CREW + ca + text))
    page = config.ui
    assert page is not None
    assert page.login is not None
    assert (page.url, page.authority) == ("https://crewgate.example", "crewgate.example")
    assert (page.session_seconds, page.idle_seconds) == (3600, 600)
    assert page.is_tls
    assert page.is_secure
    assert page.asks_certificates
    assert page.login.issuer == "https://id.example/tenant/"  # to the letter
    assert page.login.client_secret == tmp_path / "ui.secret"
    assert page.files == [tmp_path / "ui.pem", tmp_path / "provider.pem"]
    oncall, everybody = page.access
    assert (oncall.rights, oncall.crews) == (("view", "operate"), ("article",))
    assert (everybody.rights, everybody.crews) == (("view",), None)
    assert not list(wants_restart(load(write(minimal + CREW + ca)), config))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("port = 8470", "http://127.0.0.1:8470"),
        ('address = "::1"\nport = 8470', "http://[::1]:8470"),
        ("port = 80", "http://127.0.0.1"),
        (TLS + "port = 443", "https://127.0.0.1"),
        (TLS + 'address = "192.0.2.1"\nport = 8470', "https://192.0.2.1:8470"),
        ('port = 8470\nurl = "http://LOCALHOST:80"', "http://localhost"),
        ('port = 8470\nurl = "https://crewgate.example"', "https://crewgate.example"),
    ],
)
def test_the_url_is_as_browsers_write_it(write: Write, minimal: str, text: str, url: str) -> None:
    """A proxy that speaks TLS may be in front of a loopback address."""
    page = load(write(f"{minimal}\n[ui]\n{text}")).ui
    assert page is not None
    assert page.url == url
    assert page.is_secure == url.startswith("https")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "ui.port: missing"),
        ('port = 1\naddress = "192.0.2.1"', "ui.address: 192.0.2.1 is no loopback address: give"),
        ('port = 1\ncertificate = "a"', "ui: expected certificate and key, or neither"),
        (TLS + 'port = 1\naddress = "0.0.0.0"', "ui.url: missing: no browser can use 0.0.0.0"),
        ('port = 1\nurl = "http://crewgate.example"', "ui.url: only https, except for"),
        (TLS + 'port = 1\nurl = "http://127.0.0.1"', "its URL begins with https"),
        ('port = 1\nurl = "https://a/path"', "ui.url"),
        ('port = 1\nurl = "https://ada@a"', "ui.url"),
        ('port = 1\nurl = "javascript:alert(1)"', "ui.url"),
        ("port = 1\nsession_seconds = 59", "ui.session_seconds"),
        ('port = 1\nclient_certificate = "optional"', "ui.client_certificate: only with TLS"),
        (TLS + 'port = 1\nclient_certificate = "optional"', "there is no [ca]"),
        ("port = 1\n" + LOGIN, "ui.login: nobody who logs in may do anything"),
        ("port = 1\n" + ACCESS, "ui.access: nobody can log in for it"),
        (f"port = 1\n{LOGIN}[ui.access.x]\n", "ui.access.x: nobody has these rights"),
        (f'port = 1\n{LOGIN}{ACCESS}rights = ["root"]', "ui.access.oncall.rights"),
        (f'port = 1\n{LOGIN}{ACCESS}crews = ["b"]', 'ui.access.oncall.crews: no crew "b"'),
        (f'port = 1\n{LOGIN}{ACCESS}people = ["a\\n"]', "ui.access.oncall.people"),
        (f'port = 1\n{LOGIN}scopes = ["email"]\n{ACCESS}', 'ui.login.scopes: needs "openid"'),
        (f'port = 1\n{LOGIN}algorithms = ["none"]\n{ACCESS}', "ui.login.algorithms"),
        (f'port = 1\n{LOGIN}algorithms = ["HS256"]\n{ACCESS}', "ui.login.algorithms"),
    ],
    ids=lambda text: text[-40:],
)
def test_a_contradiction_is_named(write: Write, minimal: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(f"{minimal}\n[ui]\n{text}"))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[ui.login]\nclient_secret = "S3cretS3cretS3cretS3cretS3cretS3cret"',
        '[export.x]\ncredentials = "https://s3.example/?key=S3cret"',
        '[export.x]\ncredential = { header = "x", env = "sk-S3cret" }',
        '[ui]\nkey = "-----BEGIN A KEY-----\\nS3cret"',
    ],
)
def test_a_secret_in_the_place_of_its_file_is_not_repeated(
    write: Write, minimal: str, text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(f"{minimal}\n{text}"))
    assert "expected" in str(caught.value)
    assert "S3cret" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(RESERVED_CREW_NAMES))
def test_a_page_refuses_crews_that_look_like_people(write: Write, minimal: str, name: str) -> None:
    """Without a page, such a crew of an earlier version loads."""
    crew = CREW.replace("crew.article", f"crew.{name}")
    assert load(write(f"{minimal}\n{crew}")).crew(name)
    with pytest.raises(ConfigurationError, match=f"crew.{name}: its orchestrators look like"):
        load(write(f"{minimal}\n{crew}\n[ui]\nport = 1\n"))


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example",
        "https://ada@id.example",
        "https://id.example/?a=b",
        "https://id.example/#a",
        "https://",
        "https://id.example/ blank",
    ],
)
def test_an_issuer_is_an_https_url(write: Write, minimal: str, issuer: str) -> None:
    """Its metadata say where secrets go."""
    text = LOGIN.replace("https://id.example", issuer)
    with pytest.raises(ConfigurationError, match=r"ui\.login\.issuer"):
        load(write(f"{minimal}\n[ui]\nport = 1\n{text}{ACCESS}"))


def test_no_other_listener_has_its_place(write: Write, minimal: str) -> None:
    text = "[ui]\nport = 9090\n[admin]\nport = 9090\n"
    with pytest.raises(ConfigurationError, match="has the same address and port"):
        load(write(minimal + text))


def test_the_rights_are_those_of_the_page() -> None:
    """The configuration knows no page, so it names them again."""
    assert set(get_args(UIRight)) == {each.value for each in Right}
