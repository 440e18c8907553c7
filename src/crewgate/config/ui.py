"""The table [ui]: where people watch and steer from a browser, and who may do what there."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, Scope, TableMap
from crewgate.config.identity_provider import CLAIM_NAME, CLIENT_ID, SubjectTokenAlgorithm
from crewgate.config.secret_places import SecretFile
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import Address, FilePath, Port

UIClientCertificate = Literal["none", "optional"]
UIRight = Literal["view", "operate", "budget", "ca"]

_SCOPE: Final = values.pattern_text(
    "a scope: printable ASCII characters without blanks", re.compile(r"[!#-\[\]-~]+"), 128
)  # RFC 6749, section 3.3


def _page_url(value: object) -> str:
    """Return the origin as browsers write it: in lower case, without a standard port."""
    origin = values.ORIGIN.read(values.string(value).lower())
    return f"{origin.scheme}://{origin.authority}"


def _issuer(value: object) -> str:
    """Return an issuer to the letter (OpenID Connect Discovery 1.0, section 3)."""
    text = values.string(value)
    parts = urlsplit(text)
    is_place = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not is_place or not is_plain or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError
    if len(text) > limits.issuer_chars_max:
        raise ValueError(f"at most {limits.issuer_chars_max} characters are possible")
    return text


def _printable(chars_max: int) -> ValueParser[str]:
    read = values.passing(values.string, lambda text: text.isprintable() and text.strip() == text)
    read = values.passing(read, lambda text: 1 <= len(text) <= chars_max)
    return ValueParser(f"a text of 1 to {chars_max} printable characters", read)


_ISSUER: Final = ValueParser('"https://…", without query, user and fragment', _issuer)
_URL: Final = ValueParser(
    'a URL such as "https://crewgate.example:8470", without path, query or user', _page_url
)
_GROUP: Final = _printable(limits.ui_group_chars_max)
_PERSON: Final = _printable(limits.ui_person_chars_max)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: "localhost", or a loopback address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class UILoginConfig(msgspec.Struct, frozen=True):
    """How people log in: at an OpenID provider, by the authorization code flow with PKCE."""

    issuer: Annotated[
        str,
        _ISSUER,
        "The provider. Its metadata are at this URL with `/.well-known/openid-configuration`.",
    ]
    client_id: Annotated[str, CLIENT_ID, "Id of the page as a client of the provider."]
    client_secret: Annotated[
        SecretFile | None,
        "File with the secret of the client, sent by HTTP Basic. It is read at each login, and "
        "every few seconds for the health.",
        Key(absent="none: a public client"),
    ] = None
    username_claim: Annotated[
        str,
        CLAIM_NAME,
        "Claim of the ID token that names the person; no person may be able to set it. Of "
        '"email", the provider must say `email_verified`.',
    ] = "sub"
    groups_claim: Annotated[
        str, CLAIM_NAME, "Claim of the ID token with the groups of the person."
    ] = "groups"
    scopes: Annotated[
        tuple[str, ...], values.listed(_SCOPE, 16, 1), "Scopes to ask for; `openid` is needed."
    ] = ("openid",)
    algorithms: Annotated[
        tuple[SubjectTokenAlgorithm, ...],
        values.listed(values.word(SubjectTokenAlgorithm), 11, 1),
        "Signature algorithms to accept in ID tokens.",
    ] = ("RS256", "ES256", "EdDSA")
    ca: Annotated[
        FilePath | None,
        "PEM file: the roots that may sign the certificate of the provider.",
        Key(absent="the roots of the system"),
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note scopes without that of OpenID Connect."""
        if "openid" not in self.scopes:
            section.problem('needs "openid": without it the provider sends no ID token', "scopes")


class UIAccessConfig(msgspec.Struct, frozen=True):
    """Rights of some people."""

    name: str
    groups: Annotated[
        tuple[str, ...],
        values.listed(_GROUP, limits.ui_access_names_max, 1),
        "Groups of the provider whose people have the rights.",
        Key(absent="none; give `people`"),
    ] = ()
    people: Annotated[
        tuple[str, ...],
        values.listed(_PERSON, limits.ui_access_names_max, 1),
        "People who have the rights, as `username_claim` names them, to the letter.",
        Key(absent="none; give `groups`"),
    ] = ()
    rights: Annotated[
        tuple[UIRight, ...],
        values.listed(values.word(UIRight), 4, 1),
        "What the people may do: see all, end and quarantine, give back burned credits, revoke "
        'certificates of orchestrators. Each right includes "view".',
    ] = ("view",)
    crews: Annotated[
        tuple[str, ...] | None,
        values.listed(values.NAME, limits.crews_max, 1),
        "Crews for which the people have the rights.",
        Key(absent="all crews, and what belongs to no crew"),
    ] = None

    def check(self, section: TOMLTableReader) -> None:
        """Note rights of nobody."""
        if not self.groups and not self.people:
            section.problem("nobody has these rights; give `groups` or `people`")


def _url(scope: Scope) -> str:
    """Return the URL of the listener itself; "" if no browser could use its address."""
    address, port = scope["address"], scope["port"]
    if ip_address(address).is_unspecified:
        return ""
    host = f"[{address}]" if ":" in address else address
    return _page_url(f"{'http' if scope['certificate'] is None else 'https'}://{host}:{port}")


class UIConfig(msgspec.Struct, frozen=True):
    """The live page of this machine."""

    port: Annotated[Port, values.PORT, "TCP port to listen on."]
    address: Annotated[
        Address,
        "IP address to listen on. An address that is not a loopback address needs a certificate.",
    ] = "127.0.0.1"
    certificate: Annotated[
        FilePath | None,
        "PEM file: the server's certificate, then the issuing CA's. Browsers must trust it.",
        Key(absent="none: HTTP without TLS, at a loopback address only"),
    ] = None
    key: Annotated[
        FilePath | None,
        "PEM file: the certificate's private key.",
        Key(absent="none; give it with `certificate`"),
    ] = None
    url: Annotated[
        str,
        _URL,
        "How browsers reach the page. It answers no request for another host.",
        Key(default=_url, absent="`https://ADDRESS:PORT`, or `http://ADDRESS:PORT` without TLS"),
    ] = ""
    session_seconds: Annotated[
        int,
        values.integer(limits.ui_session_seconds_min, limits.ui_session_seconds_max),
        "A person must log in again after this time.",
    ] = limits.ui_session_seconds_default
    idle_seconds: Annotated[
        int,
        values.integer(limits.ui_session_seconds_min, limits.ui_session_seconds_max),
        "A session ends after this time in which no page of it was open.",
    ] = limits.ui_idle_seconds_default
    client_certificate: Annotated[
        UIClientCertificate,
        "Ask browsers for a certificate of the CA in [ca]. An operator with one has all rights.",
    ] = "none"
    login: Annotated[
        UILoginConfig | None, "The OpenID provider where people log in to the live page."
    ] = None
    access: Annotated[
        tuple[UIAccessConfig, ...],
        "What people who log in at the provider may do on the live page, and for which crews.",
        TableMap(max_count=limits.ui_access_max),
    ] = ()

    @property
    def is_tls(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.certificate is not None

    @property
    def authority(self) -> str:
        """The host and port of `url`, as browsers send it in the field Host."""
        return urlsplit(self.url).netloc

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the page over https, so that its cookies can be secure."""
        return self.url.startswith("https://")

    @property
    def asks_certificates(self) -> bool:
        """Whether the listener asks browsers for a certificate of an operator."""
        return self.client_certificate != "none"

    @property
    def files(self) -> list[Path]:
        """The certificates that it names, which are no secrets."""
        found = [self.certificate, None if self.login is None else self.login.ca]
        return [path for path in found if path is not None]

    def check(self, section: TOMLTableReader) -> None:
        """Note a listener or a URL without TLS that is not of this machine, and useless rights."""
        section.problem_unless_both("certificate", "key")
        if not self.is_tls and not ip_address(self.address).is_loopback:
            section.problem(
                f"{self.address} is no loopback address: give `certificate` and `key`, or listen "
                'on "127.0.0.1" behind a proxy that speaks TLS',
                "address",
            )
        if not self.url:
            section.problem(
                f"missing: no browser can use {self.address}; expected {_URL.expected}", "url"
            )
        elif not self.is_secure and not is_loopback(urlsplit(self.url).hostname or ""):
            section.problem("only https, except for a loopback address", "url")
        elif self.is_tls and not self.is_secure:
            section.problem("the page has a certificate, so its URL begins with https", "url")
        if self.asks_certificates and not self.is_tls:
            section.problem("only with TLS: give `certificate` and `key`", "client_certificate")
        if self.access and self.login is None:
            section.problem("nobody can log in for it: add [ui.login]", "access")
        if self.login is not None and not self.access:
            section.problem("nobody who logs in may do anything: add [ui.access.NAME]", "login")
