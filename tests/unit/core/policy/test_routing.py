"""The router against a slow, obvious model, and against what servers read in different ways."""

import unicodedata
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lenient_servers import matched, served

from crewgate.core.policy.path_variants import loose_segment
from crewgate.core.policy.routing import UNKNOWN, RoutePattern, Router, parse_path


def routes(*lines: str) -> list[RoutePattern]:
    """Routes from lines such as "GET /a", named by their number."""
    return [
        RoutePattern(method, path, f"tool {number}")
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
        "/items/../search",
        "/items/..",
        "/items/.",
        "/items/%2e%2E/search",
        "/items/.%2e",
        "/items//7",
        "//items/7",
        "/items/7%2Fparts",
        "/items/7%2f",
        "/items/7\\parts",
        "/items/7%5cparts",
        "/items/7;v=1",
        "/items/7%3Bv",
        "/items/7%00",
        "/items/7%0a",
        "/items/%252e%252e",
        "/items/7%",
        "/items/7%2",
        "/items/7%zz",
        "/items/7?x",
        "/items/7#x",
        "/items/%c0%ae%c0%ae",
        "/items/%e0%80%af7",
        "/items/%ff",
        "/items/7 8",
        "/items/7\x00",
        "/items/ü",
        "items/7",
        "",
        "*",
        "http://host/items/7",
    ],
)
def test_a_path_that_servers_read_differently_means_no_tool(path: str) -> None:
    """Dot segments, doubled or encoded slashes and their like match nothing, not even a prefix."""
    assert TABLE.find(b"GET", path.encode()) == UNKNOWN


@pytest.mark.parametrize(
    "path",
    [
        "/items/ne%77",
        "/items/New",
        "/items/NEW",
        "/items/ne%77/",
        "/items/new/",
        "/items/new.json",
        "/items/new.tar.gz",
        "/items/new.",
        "/items/new%20",
        "/items/new%3Fa",
        "/items/new%23a",
        "/items/nEW/%20",
        "/%C4%B1tems/new",
        "/items/%EF%BD%8Eew",
        "/items/7%EF%BC%8F",
        "/items/%EF%BC%8E%EF%BC%8E/x",
        "/items/%E2%80%A5/x",
        "/items/%EF%BC%852e",
        "/items/..%23",
        "/items/..%20/x",
        "/items/x/..%3B",
        "/items/new%C2%85",
        "/items/new%E2%80%8B",
        "/items/new::$DATA",
        "/items/new+",
        "/items/new:",
        "/items/new%C2%A0",
        "/items/%E3%80%80new",
        "/items/%20new",
        "/items/+new",
        "/items/n%C2%ADew",
        "/items/%EF%BC%9A",
        "/items/new%EF%BB%BF",
        "/items/new%C2%9F",
        "/items/new%E2%80%A8",
        "/items/new%EF%BC%9A",
        "/items/new%EF%BC%8B",
        "/items/new:$DATA:$DATA",
        "/items/new::$data+",
        "/items/new:.json",
        "/items/new.::",
        "/items/new/+",
        "/items/new/%E2%80%8B",
        "/items::$INDEX_ALLOCATION/new",
        "/items/new%F3%A0%80%A0",
        "/items/%E2%80%AEnew",
        "/items/new%EF%B8%8F",
        "/+/items/new",
        "/items/(S(x))/new",
        "/items/ne/(S(x))w",
        "/(A(b)F(c))/items/new",
        "/items/%28s%28%29%29/new",
        "/items/.%E2%80%8B./x",
        "/items/x/+..",
        "/items/..:/x",
        "/items/..::$DATA/x",
    ],
)
def test_a_path_that_a_lenient_server_takes_for_another_tools_means_no_tool(path: str) -> None:
    """A caller cannot reach a dear route through a wide one by a spelling that servers ignore."""
    table = Router(routes("GET /items/*", "GET /items/new", "GET /items/{id}"))
    assert table.find(b"GET", path.encode()) == UNKNOWN
    assert len(served(routes("GET /items/*", "GET /items/new", "GET /items/{id}", "GET /*"),
                      "GET", path.encode())) > 1  # fmt: skip


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        ("/items/report.pdf", 1),
        ("/items/C%23", 1),
        ("/items/What%3F", 1),
        ("/items/100%25", -1),
        ("/items/Caf%C3%A9", 1),
        ("/items/a%EF%BC%9Ab", 1),
        ("/items/a.b/C", 0),
        ("/items/Anew", 1),
        ("/items/new:old", 1),
        ("/items/urn:isbn:3", 1),
        ("/items/a+b", 1),
        ("/items/+4930", 1),
        ("/items/C++", 1),
        ("/items/12:", 1),
        ("/items/new-", 1),
        ("/items/newer+", 1),
        ("/items/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB", 1),
        ("/items/%D9%85%DB%8C%E2%80%8C", 1),
        ("/items/(S(x))", 1),
        ("/items/new(1)", 1),
        ("/items/(new)", 1),
        ("/items/(S)/new", 0),
        ("/items/$new", 1),
        ("/items/a:$b", 1),
        ("/items/new,", 1),
        ("/items/re+new/x", 0),
    ],
)
def test_a_name_that_nobody_takes_for_another_tools_is_served(path: str, tool: int) -> None:
    """Capitals, dots, "#" and letters of the world are good wherever they change nothing."""
    table = Router(routes("GET /items/*", "GET /items/{id}", "GET /items/new"))
    assert table.find(b"GET", path.encode()) == tool


def test_no_character_without_width_is_forgotten() -> None:
    """All that Unicode has in its category of formats, and blanks of any alphabet at an end."""
    for code in (*range(0x80, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000)):
        character = chr(code)
        if unicodedata.category(character) == "Cf":
            assert loose_segment(f"n{character}ew") == b"new", hex(code)
        elif character.isspace() or unicodedata.category(character) == "Cc":
            assert loose_segment(f"{character}new{character}") == b"new", hex(code)


@pytest.mark.parametrize(
    ("path", "tool"),
    [("/se%61rch", 0), ("/v1/models/%C3%BC%20x", 8), ("/v1/models/m%3Aother", 8)],
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
        ("GET /a", "GET /a/"),
        ("GET /a", "GET /A"),
        ("GET /a/{x}/", "GET /a/{x}"),
        ("GET /A/*", "GET /a/*"),
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
    ],
)
def test_routes_of_which_one_goes_first_stand_together(first: str, second: str) -> None:
    """Different ranks, methods, lengths or literals are no conflict."""
    Router(routes(first, second))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/a//b",
        "/*/a",
        "/a*",
        "/{x}y",
        "/{}",
        "/{x",
        "/a b",
        "/a%20b",
        "/a;b",
        "/..",
        "/./a",
        "/a?b",
        "/ü",
        "/" + "a" * 1024,
    ],
)
def test_a_malformed_pattern_is_refused(path: str) -> None:
    """Nothing that could be read in two ways is accepted as a route."""
    with pytest.raises(ValueError, match=r"path begins|segment"):
        parse_path(path)


words = st.sampled_from(["a", "b", "{x}", "a.b", "m:n", "A", "c"])
patterns = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(words, max_size=3),
    st.sampled_from([[], ["*"], [""]]),
).filter(lambda path: "//" not in path)
requests = st.builds(
    lambda parts, end: quote("/" + "/".join(parts) + end, safe="/%:"),
    st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                "c",
                "%61",
                "a.b",
                "a%2Eb",
                "m:n",
                "m%3An",
                "",
                "A",
                "a.",
                "b.a",
                "\uff41",
                "a+",
                "+a",
                "a:",
                "a::$DATA",
                "a\u200b",
                "\u00ada",
                "\u0085b",
                "b\u3000",
                "m:n:",
            ]
        ),
        max_size=4,
    ),
    st.sampled_from(["", "/", "#x", ".json", "+", "::$data", "\ufeff"]),
)


def accepted(paths: list[str]) -> tuple[list[RoutePattern], Router]:
    """A table that is not refused."""
    table = routes(*(f"GET {pattern}" for pattern in paths))
    try:
        return table, Router(table)
    except ValueError:
        assume(False)
        raise


def model(table: list[RoutePattern], path: str) -> str:
    """The name of the one route that any server could take the path for; "" if there are more."""
    if "//" in path or "%2E" in path:
        return ""
    plain = unquote_to_bytes(path)
    name = matched(table, "GET", plain)
    exact = path in [route.path for route in table]  # as it was sent: nobody reads it otherwise
    return name if exact or served(table, "GET", path.encode()) == {name} else ""


@given(st.lists(patterns, min_size=1, max_size=8, unique=True), requests)
@example(["/*", "/m:n"], "/m%3An")
@example(["/*", "/{x}/*"], "/+/a/a")
@example(["/*", "/{x}/a"], "/%20/a")
def test_the_router_answers_as_the_model_does(paths: list[str], path: str) -> None:
    """For any table that is accepted and any request, look-ups and regular expressions agree."""
    table, router = accepted(paths)
    tool = router.find(b"GET", path.encode())
    assert (table[tool].name if tool != UNKNOWN else "") == model(table, path)


@given(
    st.lists(patterns, min_size=1, max_size=8, unique=True),
    st.text("aAbB./%25eEfFcC0;?#\\\uff0e\uff0f\u2025 +:$\u200b\u0085\u3000\uff1a()", max_size=12),
)
@example(["/", "/*"], "0/...")
@example(["/", "/*"], "0/...json")
@example(["/", "/*"], "0/...x%3Fy")
@example(["/", "/*"], "0/.\u2025")
@example(["/", "/*"], "\u2025.0\uff0f")
@example(["/a/x", "/*"], "a\uff0fx.0\uff0f")
@example(["/*", "/{x}/"], "0?/")
@example(["/*", "/{x}/"], "0\uff1f/")
@example(["/{x}", "/{x}/{x}/"], "#\uff0f0")
@example(["/{x}", "/{x}/{x}/"], " \uff0f0")
@example(["/{x}", "/{x}/{x}/"], "\uff1b\uff0f0")
@example(["/a", "/a/*"], "a/.../...b")
@example(["/a", "/*"], "a+\u200b:.")
@example(["/a", "/*"], "(S())/a")
@example(["/a", "/*"], "(S(b))/a+")
@example(["/a", "/*"], "a/(S(b))?x")
@example(["/ab", "/*"], "a/(S(;))b")
@example(["/a", "/{x}/{x}/"], "a/:")
@example(["/a/b", "/*"], "a/\u200b/+b")
def test_no_server_serves_another_tool(paths: list[str], path: str) -> None:
    """Whatever a server makes of a path that is let through, it is the tool that was judged."""
    table, router = accepted(paths)
    target = quote("/" + path, safe="/%;\\").encode()
    tool = router.find(b"GET", target)
    if tool != UNKNOWN and table[tool].path != "/" + path:
        assert served(table, "GET", target) == {table[tool].name}


@given(st.lists(patterns, min_size=2, max_size=6, unique=True), st.lists(requests, max_size=20))
def test_an_accepted_table_never_has_two_answers_of_one_rank(
    paths: list[str], asked: list[str]
) -> None:
    """Where two routes of one rank and length match one request, the table was refused."""
    table, _ = accepted(paths)
    for path in asked:
        ranks = [
            (parse_path(route.path).rank, len(parse_path(route.path).segments))
            for route in table
            if model([route], path)
        ]
        assert len(set(ranks)) == len(ranks)


def hosted(*lines: tuple[str, tuple[str, ...]]) -> Router:
    """Routes of GET with their hosts."""
    return Router(
        RoutePattern("GET", path, f"tool {at}", hosts) for at, (path, hosts) in enumerate(lines)
    )


@pytest.mark.parametrize(
    ("authority", "path", "tool"),
    [
        ("a.example", "/v1", 0),
        ("A.Example:8443", "/v1", 0),
        ("b.example", "/v1", 1),
        ("b.example:8443", "/v1", 1),
        ("c.example:8443", "/v1", 2),
        ("c.example", "/v1", UNKNOWN),
        ("c.example:443", "/v1", UNKNOWN),
        ("d.example", "/v1", UNKNOWN),
        ("", "/v1", UNKNOWN),
        ("a.example.", "/v1", 0),
        ("a.example:", "/v1", 0),
        ("a.example.:", "/v1", 0),
        ("a.example.:443", "/v1", 0),
        ("C.Example.:8443", "/v1", 2),
        ("c.example:", "/v1", UNKNOWN),
        ("a.example..", "/v1", UNKNOWN),
        ("a.example::", "/v1", UNKNOWN),
        (".", "/v1", UNKNOWN),
        ("a.example:x", "/v1", UNKNOWN),
        ("xa.example", "/v1", UNKNOWN),
        ("d.example", "/all", 3),
        ("a.example", "/all", 3),
        ("c.example:8443", "/all", 3),
    ],
)
def test_a_route_stands_on_its_hosts(authority: str, path: str, tool: int) -> None:
    """With their port or with any; one that names none stands on all."""
    table = hosted(
        ("/v1", ("a.example",)),
        ("/v1", ("B.Example", "b.example:8443")),
        ("/v1", ("c.example:8443",)),
        ("/all", ()),
    )
    assert table.find(b"GET", path.encode(), authority.encode()) == tool


def test_another_tools_path_is_one_of_the_same_host() -> None:
    """Beside an exact route a spelling of it is refused; on another host it is an id."""
    table = hosted(("/items/{id}", ()), ("/items/new", ("a.example",)))
    assert table.find(b"GET", b"/items/New", b"a.example") == UNKNOWN
    assert table.find(b"GET", b"/items/new", b"a.example") == 1
    assert table.find(b"GET", b"/items/New", b"b.example") == 0
    assert table.find(b"GET", b"/items/new", b"b.example") == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a",), ("a",)),
        (("a",), ()),
        ((), ()),
        (("a", "b"), ("c", "B")),
        (("a",), ("a:8443",)),
        (("a:8443",), ("a",)),
    ],
)
def test_two_equal_routes_that_meet_on_a_host_are_refused(
    first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """Also where one names the port and the other any."""
    with pytest.raises(ValueError, match=r"(?s)tool 1 .*tool 0 .*can match one request"):
        hosted(("/v1", first), ("/v1", second))


def test_hosts_are_bounded() -> None:
    """Each has a table."""
    with pytest.raises(ValueError, match="65 hosts; at most 64"):
        hosted(("/v1", tuple(f"h{number}" for number in range(65))))
