"""Classes of resources: a URI has one only if all servers read it as a resource of that class."""

import contextlib
import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.mcp import resource_classes
from crewgate.core.mcp.resource_classes import AmbiguousURIError, ResourceClasses

CLASSES = ResourceClasses(
    {
        "docs": ["file:///docs/*", "docs://*", "memo:today"],
        "drafts": ["file:///docs/drafts/*"],
        "secret": ["file:///secret/*", "file:///docs/key", "https://intranet/*"],
        "named": ["file:///with%20blank/*"],
    }
)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///docs/a", "docs"),
        ("file:///docs/", "docs"),
        ("file:///docs/Read.me", "docs"),
        ("file:///docs/a%20b%2Fc", "docs"),
        ("file:///docs/%C3%A9?x=1#part", "docs"),
        ("docs://README", "docs"),
        ("memo:today", "docs"),
        ("memo:tomorrow", "other"),
        ("file:///docs/drafts/a", "drafts"),  # the longest pattern wins
        ("file:///docs/key", "secret"),
        ("file:///docs/keys", "docs"),
        ("file:///docs", "other"),
        ("file:///with%20blank/a", "named"),
        ("https://intranet/a;v=1/b", "secret"),
        ("https://intranet:8443/a", "other"),
        ("test://static/text", "other"),
        ("urn:isbn:0451450523", "other"),
    ],
)
def test_the_longest_pattern_decides(uri: str, expected: str) -> None:
    """A pattern is a URI, or a beginning of URIs; a URI that matches no pattern is `other`."""
    assert CLASSES.class_of(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        # Dot segments, plain and encoded, in every part.
        "file:///docs/../secret/a", "file:///docs/%2e%2e/secret/a", "file:///docs/.%2E/secret/a",
        "file:///docs/..", "file:///docs/./drafts/a", "file:///docs/..;x/secret/a",
        "file:///docs/?/../../secret/a", "file:///docs/#/../../secret/a", "docs:../secret",
        "file:///docs/%252e%252e/secret", "file:///docs/..%2fsecret/a", "file:///docs/..%5csecret/a",
        "file:///docs/%EF%BC%8E%EF%BC%8E/secret", "file:///docs/%20../secret/a",
        # Another spelling of a resource of another class.
        "file:///Secret/a", "FILE:///secret/a", "file:////secret/a", "file:/secret/a",
        "file:///secret%2Fa", "file:///secret%5Ca", "file:///secret./a", "file:///secret%20/a",
        "file:///secret;v=1/a", "file:///%20secret/a", "file://localhost/secret/a",
        "file:///docs//key", "file:///docs/key/",
        "file:///docs/KEY", "file:///docs/key?x", "file:///docs/key#x", "file:///docs/k%65y",
        "file:///docs/key;x", "file:///docs/key.", "file:///docs%2fkey", "file:///docs/%EF%BD%8Bey",
        "file:///docs/ke%E2%80%8By", "file:///docs//drafts/a", "file:///docs/Drafts/a",
        "https://intranet:443/a", "https://INTRANET/a", "https://intranet./a", "https://intranet:/a",
        "https://user@intranet/a", "https://docs@intranet/a", "memo:today?x", "memo:Today",
        "DOCS://README",
        # No URI, or one with characters that servers cut or trim.
        "", "docs", "/docs/a", "file:///docs/a b", "file:///docs/\u00e9", "file:///docs/a\\b",
        "file:///docs/a%00", "file:///docs/a%0a", "file:///docs/a\n", " file:///docs/a",
        "file:///docs/%", "file:///docs/%4", "file:///docs/%zz", "file:///docs/%ff",
        "file:///docs/{a}", "://docs/a", "\u017file:///docs/a",
    ],
)  # fmt: skip
def test_a_uri_that_servers_read_in_two_ways_is_refused(uri: str) -> None:
    """It could be a resource of another class, so not even `other` covers it."""
    with pytest.raises(AmbiguousURIError):
        CLASSES.class_of(uri)


def test_without_classes_every_uri_is_other() -> None:
    """There is no other class that a URI could fall in."""
    classes = ResourceClasses({})
    for uri in ("file:///docs/../secret", "", "x y", "file:///docs/%2e%2e/a"):
        assert classes.class_of(uri) == "other"
    assert classes.classes_of_template("{+path}") == {"other"}


def test_the_length_of_a_uri_is_bounded() -> None:
    for classes in (CLASSES, ResourceClasses({})):
        long = "file:///docs/" + "a" * limits.mcp_uri_chars_max
        with pytest.raises(AmbiguousURIError, match="longer than"):
            classes.class_of(long)
        assert classes.classes_of_template(long) == set()


# Changes that servers make to a URI before they look up its resource.
STEPS: list[Callable[[str], str]] = [
    unquote,
    str.lower,
    lambda uri: uri.replace("\\", "/"),
    lambda uri: re.sub("[?#].*", "", uri),
    lambda uri: re.sub(";[^/]*", "", uri),
    lambda uri: re.sub("[. ]+(/|$)", r"\1", uri),
    lambda uri: uri.replace("//localhost/", "///"),
    lambda uri: re.sub("^https:(//[^/]*):443", r"https:\1", uri),
    lambda uri: re.sub("^(https:/+)[^/]*@", r"\1", uri),
]
FOUND_BY_SERVERS = {
    "secret": ["file:/secret/", "file:/docs/key", "https:/intranet/"],
    "drafts": ["file:/docs/drafts/"],
    "docs": ["file:/docs/", "docs:/", "memo:today"],
}


PARTS = [
    "file:", "/", "//", "///", "docs", "secret", "Secret", "key", "drafts", "a", ".", "..",
    "%2e", "%2F", "%5c", "%73", "?", "#", ";", "localhost", "%20", "%25", "https:", "intranet",
    ":443", "@", "docs:", "memo:today", "file:///docs/", "file:///docs/key",
]  # fmt: skip


def looked_up(uri: str) -> str:
    """The class of the file that a server opens after its steps, or of its other resources."""
    scheme, colon, path = uri.partition(":")
    uri = scheme + colon + (posixpath.normpath(path) if path.startswith("/") else path)
    uri = re.sub("/+", "/", uri + "/" * path.endswith("/"))
    for each, beginnings in FOUND_BY_SERVERS.items():
        for beginning in beginnings:
            if uri.startswith(beginning) if beginning.endswith("/") else uri == beginning:
                return each
    return "other"


@given(
    st.lists(
        st.sampled_from(PARTS),
        max_size=7,
    ),
    st.lists(st.sampled_from(STEPS), max_size=5),
)
def test_no_server_finds_a_resource_of_another_class(
    parts: list[str], steps: list[Callable[[str], str]]
) -> None:
    """An accepted URI keeps its class when a server takes random steps to read it."""
    uri = "".join(parts)
    try:
        found = CLASSES.class_of(uri)
    except AmbiguousURIError:
        return
    for step in steps:
        uri = step(uri)
    assert looked_up(uri) == found


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("file:///docs/{name}", {"docs", "drafts", "secret"}),
        ("file:///docs/a{name}", {"docs"}),
        ("file:///docs/drafts/{+path}", {"drafts"}),
        ("file:///{+path}", {"other", "docs", "drafts", "secret", "named"}),
        ("file:///docs/k{x}", {"docs", "secret"}),
        ("file:///docs/key", {"secret"}),
        ("{+uri}", {"other", "docs", "drafts", "secret", "named"}),
        ("memo:{day}", {"other", "docs"}),
        ("db://{table}/rows", {"other"}),
        ("FILE:///secret/{x}", set()),
        ("file:///docs/../secret/{x}", set()),
        ("x{y}", set()),
    ],
)
def test_a_template_has_the_classes_that_its_uris_can_have(
    template: str, expected: set[str]
) -> None:
    """All that is known of its URIs is their beginning."""
    assert CLASSES.classes_of_template(template) == expected


@given(
    st.sampled_from(["file:///docs/", "file:///docs/k", "memo:", "file:///", "db://x/", "https:"]),
    st.sampled_from(["ey", "a", "drafts/b", "secret/a", "docs/key", "today", "//intranet/a", ""]),
)
def test_a_template_covers_the_class_of_each_uri_of_it(beginning: str, rest: str) -> None:
    """A resource that a caller may read is never of a template that the caller does not see."""
    try:
        found = CLASSES.class_of(beginning + rest)
    except AmbiguousURIError:
        return
    assert found in CLASSES.classes_of_template(beginning + "{+rest}")


@pytest.mark.parametrize("unit", ["+", ".", ":$", ";", "(a(", "/+"])
def test_a_uri_is_read_in_proportion_to_its_length(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that began anew at each character of a long run would not end here."""
    monkeypatch.setattr(limits, "mcp_uri_chars_max", 10**6)
    for start in ("file:///docs/", "file:///docs/%C3%A9"):
        with contextlib.suppress(AmbiguousURIError):
            CLASSES.class_of(start + unit * (200_000 // len(unit)) + "b")


@pytest.mark.parametrize(
    "patterns",
    [
        {"a": ["file:///x/*"], "b": ["FILE:///x/*"]},
        {"a": ["file:///x"], "b": ["file:///x/"]},
        {"a": ["file:///x"], "b": ["file:///x"]},
        {"a": ["file:///x%2Fy"], "b": ["file:///x/y"]},
        {"a": ["file:///../x"]},
        {"a": ["file:///*/x"]},
        {"a": ["docs/*"]},
        {"a": ["*"]},
    ],
)
def test_patterns_that_servers_read_in_two_ways_are_errors(patterns: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"servers can|a URI|dot segments|at the end"):
        ResourceClasses(patterns)


@given(
    st.lists(st.sampled_from([*PARTS, ".", "b.c", "~", "(", "=", "localhosts", "x+"]), max_size=8)
)
def test_a_tame_uri_has_the_class_that_all_readings_have(parts: list[str]) -> None:
    """The short way for most URIs finds neither more nor another class than the long one."""
    uri = "".join(parts)
    found = _class_of(uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource_classes, "_TAME", re.compile("(?!)"))
        assert _class_of(uri) == found


def _class_of(uri: str) -> str | None:
    try:
        return CLASSES.class_of(uri)
    except AmbiguousURIError:
        return None
