"""What `[ca]` and a listener say of OCSP: whom to ask, and what an answer that is missing means."""

from pathlib import Path

import pytest

from crewgate.config import Config, OCSPClientConfig, load
from crewgate.errors import ConfigurationError

HEAD = """\
audience = "https://gateway.example"
workers = 1
"""
CA = """
[ca]
trust_domain = "crewgate.internal"
"""
LISTENER = """
[[listener]]
name = "crews"
address = "127.0.0.1"
port = 8444
certificate = "gateway.pem"
key = "gateway.key"
"""
ASKS = 'client_certificate = "required"\n'


def loaded(folder: Path, *, ca: str = "", listener: str = "", with_ca: bool = True) -> Config:
    file = folder / "crewgate.toml"
    file.write_text(HEAD + (CA + ca if with_ca else "") + LISTENER + listener)
    return load(file)


def responder(folder: Path, ca: str) -> OCSPClientConfig | None:
    config = loaded(folder, ca=ca)
    assert config.ca is not None
    return config.ca.ocsp


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9999/ocsp", "https://ocsp.example", "https://[::1]:8445/ocsp/"],
)
def test_a_url_is_taken_as_it_stands(tmp_path: Path, url: str) -> None:
    """Over https the way says who answers; over http only the signature does."""
    found = responder(tmp_path, f'ocsp = "{url}"\n')
    assert found == OCSPClientConfig(url)
    assert found.is_authentic == url.startswith("https")
    assert str(found) == url


def test_a_unix_socket_is_relative_to_the_file(tmp_path: Path) -> None:
    """Posted to /ocsp there, where our own control process answers."""
    found = responder(tmp_path, 'ocsp = "unix:state/control.sock"\n')
    assert found == OCSPClientConfig("http://localhost/ocsp", tmp_path / "state" / "control.sock")
    assert found.is_authentic
    assert str(found) == f"unix:{tmp_path}/state/control.sock"


def test_nobody_is_asked_unless_the_file_says_whom(tmp_path: Path) -> None:
    """And then no listener has anything to say of it."""
    assert responder(tmp_path, "") is None
    assert loaded(tmp_path, listener=ASKS).listeners[0].ocsp == "off"


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "ftp://x/", "http://", "https://user@x/", "http://x/?q", "http://x/#f",
     "http://x:0/", "http://a..b/", "http://-x/", "https://[:::]/", f"http://{'x' * 64}/",
     "http://x:99999/", "http://x/a b", "x.example/ocsp", f"http://{'x' * 300}/"],
)  # fmt: skip
def test_whatever_else_is_refused_with_what_was_expected(tmp_path: Path, text: str) -> None:
    """The key, the value, and the forms that there are."""
    with pytest.raises(ConfigurationError, match=r'ca\.ocsp = .*expected "https'):
        responder(tmp_path, f'ocsp = "{text}"\n')


def test_a_client_certificate_comes_with_its_key_for_https(tmp_path: Path) -> None:
    """Both or neither, and not where nobody would be shown it."""
    both = 'ocsp_certificate = "c.pem"\nocsp_key = "c.key"\n'
    found = responder(tmp_path, f'ocsp = "https://x/"\n{both}')
    assert found == OCSPClientConfig("https://x/", None, tmp_path / "c.pem", tmp_path / "c.key")
    for wrong, words in (
        ('ocsp = "https://x/"\nocsp_key = "c.key"\n', "or neither"),
        (f'ocsp = "http://x/"\n{both}', "ocsp is not an https:// URL"),
        (both, "ocsp_certificate: it has no effect without ocsp"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            responder(tmp_path, wrong)


URL = 'ocsp = "https://ocsp.example/"\n'


@pytest.mark.parametrize("client_certificate", ["optional", "required"])
def test_whoever_asks_for_certificates_requires_ocsp_where_there_is_one(
    tmp_path: Path, client_certificate: str
) -> None:
    """Fail-closed unless the listener says otherwise, in so many words."""
    asks = f'client_certificate = "{client_certificate}"\n'
    assert loaded(tmp_path, ca=URL, listener=asks).listeners[0].ocsp == "required"
    for mode in ("required", "soft-fail", "off"):
        found = loaded(tmp_path, ca=URL, listener=f'{asks}ocsp = "{mode}"\n')
        assert found.listeners[0].ocsp == mode


def test_a_listener_that_asks_for_no_certificates_has_nothing_to_ask(tmp_path: Path) -> None:
    """Off by itself, and a mistake where it is demanded."""
    assert loaded(tmp_path, ca=URL).listeners[0].ocsp == "off"
    with pytest.raises(ConfigurationError, match="clients present no certificate"):
        loaded(tmp_path, ca=URL, listener='ocsp = "required"\n')


@pytest.mark.parametrize("mode", ["required", "soft-fail"])
def test_nothing_can_be_required_of_nobody(tmp_path: Path, mode: str) -> None:
    """Without [ca] ocsp there is no one to ask."""
    with pytest.raises(ConfigurationError, match="there is no responder; set ocsp in"):
        loaded(tmp_path, listener=f'{ASKS}ocsp = "{mode}"\n')


def test_another_word_is_no_mode(tmp_path: Path) -> None:
    """There are three."""
    with pytest.raises(ConfigurationError, match=r'"required" or "soft-fail" or "off"'):
        loaded(tmp_path, ca=URL, listener=f'{ASKS}ocsp = "soft"\n')


def test_the_issuing_certificate_is_public_and_beside_the_root(tmp_path: Path) -> None:
    """A gateway names it in its questions, and must not read the CA's folder."""
    ca = loaded(tmp_path).ca
    assert ca is not None
    assert ca.issuing == tmp_path / "certs" / "issuing.pem"
    assert ca.issuing.parent != ca.issuing_key.parent
