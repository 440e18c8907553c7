"""A URL becomes a target; a request has its pseudo-fields first."""

import pytest

from crewgate.errors import ConfigurationError
from crewgate.load_test.plan import Request, Shape, Target


def test_a_target_is_where_to_connect_and_what_to_ask_for() -> None:
    """The default port is 443; a fragment stays here."""
    assert Target.of("https://gw.example/a?b=c#d") == Target(
        "gw.example", 443, "gw.example", "/a?b=c"
    )
    target = Target.of("https://[::1]:8443")
    assert (target.host, target.port, target.authority, target.path) == (
        "::1",
        8443,
        "[::1]:8443",
        "/",
    )
    assert target.url == "https://[::1]:8443/"


@pytest.mark.parametrize(
    "url",
    ["http://gw/", "gw:8443/a", "https:///a", "https://gw:x/", "https://gw/é", "https://gw/a b",
     "https://user:secret@gw/"],
)  # fmt: skip
def test_another_text_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError):
        Target.of(url)


def test_the_pseudo_fields_come_first() -> None:
    """RFC 9113, section 8.3.1."""
    request = Request(Target.of("https://gw/a"), "GET", ((b"accept", b"*/*"),))
    assert [name for name, _ in request.head] == [
        *(b":method", b":scheme", b":authority", b":path", b"accept")
    ]
    assert Shape(16, 8).total == 128
