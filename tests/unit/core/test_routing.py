"""The router against a slow, obvious model, and against what servers read in different ways."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crewgate.core.routing import UNKNOWN, Route, Router, parse_path


def routes(*lines: str) -> list[Route]:
    """Routes from lines such as "GET /a", named by their number."""
    return [
        Route(method, path, f"tool {number}")
        for number, (method, path) in enumerate(line.split(" ") for line in lines)
    ]


TABLE = Router(
    routes(
        "POST /search",
        "GET /items/{id}",
        "GET /items/new",
        "GET /items/*",
        "GET /items/special/*",
        "GET /{kind}/{id}/parts/{part}",
        "GET /",
        "POST /v1/models/m:generate",
        "POST /v1/models/{model}",
        "GET /slash/",
    )
)


@pytest.mark.parametrize(
    ("method", "path", "tool"),
    [
        ("POST", "/search", 0),
        ("GET", "/search", UNKNOWN),
        ("GET", "/items/new", 2),
        ("HEAD", "/items/new", 2),
        ("GET", "/items/7", 1),
        ("GET", "/items/", 3),
        ("GET", "/items/7/deep", 3),
        ("GET", "/items/special/7", 4),
        ("GET", "/items/special", 1),
        ("GET", "/items", UNKNOWN),
        ("GET", "/box/7/parts/2", 5),
        ("GET", "/", 6),
        ("POST", "/v1/models/m:generate", 7),
        ("POST", "/v1/models/other", 8),
        ("POST", "/v1/models/", UNKNOWN),
        ("GET", "/slash/", 9),
        ("GET", "/slash", UNKNOWN),
        ("DELETE", "/items/7", UNKNOWN),
        ("get", "/items/7", UNKNOWN),
    ],
)
def test_exact_goes_before_parameter_before_longest_prefix(
    method: str, path: str, tool: int
) -> None:
    """The most exact route answers, whatever the order in which the routes were given."""
    assert TABLE.find(method.encode(), path.encode()) == tool


@pytest.mark.parametrize(
    "path",
    [
        "/items/../search", "/items/..", "/items/.", "/items/%2e%2E/search", "/items/.%2e",
        "/items//7", "//items/7", "/items/7%2Fparts", "/items/7%2f", "/items/7\\parts",
        "/items/7%5cparts", "/items/7;v=1", "/items/7%3Bv", "/items/7%00", "/items/7%0a",
        "/items/%252e%252e", "/items/7%", "/items/7%2", "/items/7%zz", "/items/7?x", "/items/7#x",
        "/items/%c0%ae%c0%ae", "/items/%e0%80%af7", "/items/%ff",
        "/items/7 8", "/items/7\x00", "/items/ü", "items/7", "", "*", "http://host/items/7",
    ],
)
def test_a_path_that_servers_read_differently_means_no_tool(path: str) -> None:
    """Dot segments, doubled or encoded slashes and their like match nothing, not even a prefix."""
    assert TABLE.find(b"GET", path.encode()) == UNKNOWN


@pytest.mark.parametrize(
    ("path", "tool"),
    [("/se%61rch", 0), ("/v1/models/m%3Agenerate", 7), ("/v1/models/m%3agenerate", 7),
     ("/v1/models/%C3%BC%20x", 8)],
)
def test_an_encoded_spelling_is_the_same_tool(path: str, tool: int) -> None:
    """A caller cannot reach a dear route through a cheap one by encoding its letters."""
    assert TABLE.find(b"POST", path.encode()) == tool


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("POST /a", "POST /a"),
        ("GET /a/{x}", "GET /a/{y}"),
        ("GET /a/{x}", "GET /{y}/b"),
        ("GET /a/*", "GET /a/*"),
        ("GET /{x}/*", "GET /a/*"),
    ],
)
def test_two_equal_routes_are_refused_and_both_named(first: str, second: str) -> None:
    """A request never has two answers: the table is refused when it is made."""
    with pytest.raises(ValueError, match=r"(?s)tool 1 .*tool 0 .*can match one request"):
        Router(routes(first, second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GET /a", "POST /a"),
        ("GET /a/{x}", "GET /a/b"),
        ("GET /a/{x}/c", "GET /a/{x}/d"),
        ("GET /a/*", "GET /a/b/*"),
        ("GET /a/{x}", "GET /a/*"),
        ("GET /a/{x}/", "GET /a/{x}"),
    ],
)
def test_routes_of_which_one_goes_first_stand_together(first: str, second: str) -> None:
    """Different ranks, methods, lengths or literals are no conflict."""
    Router(routes(first, second))


@pytest.mark.parametrize(
    "path",
    ["", "a", "/a//b", "/*/a", "/a*", "/{x}y", "/{}", "/{x", "/a b", "/a%20b", "/a;b", "/..",
     "/./a", "/a?b", "/ü", "/" + "a" * 1024],
)
def test_a_malformed_pattern_is_refused(path: str) -> None:
    """Nothing that could be read in two ways is accepted as a route."""
    with pytest.raises(ValueError, match=r"path begins|segment"):
        parse_path(path)


words = st.sampled_from(["a", "b", "{x}", "a.b", "m:n"])
patterns = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(words, max_size=3),
    st.sampled_from([[], ["*"], [""]]),
).filter(lambda path: "//" not in path)
requests = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end,
    st.lists(
        st.sampled_from(["a", "b", "c", "%61", "a.b", "a%2Eb", "m:n", "m%3An", ""]), max_size=4
    ),
    st.sampled_from(["", "/"]),
)


def model(table: list[Route], path: str) -> int:
    """Every route as a regular expression, tried in the order of its rank."""
    if "//" in path or re.search("%2E", path):
        return UNKNOWN
    plain = unquote_to_bytes(path).decode()
    found = []
    for tool, route in enumerate(table):
        body = re.sub(r"\\\{x\\\}", "[^/]+", re.escape(route.path).removesuffix(r"\*"))
        prefix = route.path.endswith("/*")
        if re.fullmatch(body + (".*" if prefix else ""), plain):
            rank = 2 if prefix else int("{" in route.path)
            found.append((rank, -route.path.count("/"), tool))
    return min(found)[2] if found else UNKNOWN


@given(st.lists(patterns, min_size=1, max_size=8, unique=True), requests)
def test_the_router_answers_as_the_model_does(paths: list[str], path: str) -> None:
    """For any table that is accepted and any request, look-ups and regular expressions agree."""
    table = routes(*(f"GET {pattern}" for pattern in paths))
    try:
        router = Router(table)
    except ValueError:
        assume(False)
    assert router.find(b"GET", path.encode()) == model(table, path)


@given(st.lists(patterns, min_size=2, max_size=6, unique=True), st.lists(requests, max_size=20))
def test_an_accepted_table_never_has_two_answers_of_one_rank(
    paths: list[str], asked: list[str]
) -> None:
    """Where two routes of one rank and length match one request, the table was refused."""
    table = routes(*(f"GET {pattern}" for pattern in paths))
    try:
        Router(table)
    except ValueError:
        assume(False)
    for path in asked:
        ranks = [
            (parse_path(route.path).rank, len(parse_path(route.path).segments))
            for route in table
            if model([route], path) != UNKNOWN
        ]
        assert len(set(ranks)) == len(ranks)
