"""What is forwarded is what was judged, also where a path is another one at the tool's server."""

import re
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lenient_servers import matched, served

from crewgate.core.policy.rewriting import PathRewrite, RewriteChecker, UpstreamRoute
from crewgate.core.policy.routing import RoutePattern, Router


@pytest.mark.parametrize(
    ("path", "base", "to", "asked", "forwarded"),
    [
        ("/v1/chat", "", None, "/v1/chat", "/v1/chat"),
        ("/v1/chat", "/base", None, "/v1/chat", "/base/v1/chat"),
        ("/openai/v1/chat", "", "/v1/chat", "/openai/v1/chat", "/v1/chat"),
        ("/openai/v1/chat", "/api", "/v1/chat", "/openai/v1/ch%61t", "/api/v1/chat"),
        ("/a/{x}/b/{y}", "", "/{x}/{y}", "/a/%41%2e/b/c+d", "/%41%2e/c+d"),
        ("/a/{x}", "", "/b/c/d/{x}", "/%61/7%C3%a4", "/b/c/d/7%C3%a4"),
        ("/a/*", "", "/*", "/a/b/c", "/b/c"),
        ("/a/*", "/p/q", "/r/*", "/a/b%20/c/", "/p/q/r/b%20/c/"),
        ("/a/*", "", "/*", "/a/", "/"),
        ("/a/{x}/*", "", "/{x}/z/*", "/a/1/2/3", "/1/z/2/3"),
        ("/a/", "", "/b/", "/a/", "/b/"),
        ("/a", "/base", "/", "/a", "/base/"),
    ],
)
def test_what_is_captured_is_kept_byte_for_byte(
    path: str, base: str, to: str | None, asked: str, forwarded: str
) -> None:
    """Literals are the server's own, whatever their spelling was."""
    way = PathRewrite(path, base, to)
    assert way(asked.encode()) == forwarded.encode()
    assert way.is_plain == (path == way.route)


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        ("/a/{x}", "/b", "the same {names}"),
        ("/a", "/b/{x}", "the same {names}"),
        ("/a/{x}/{y}", "/b/{y}/{x}", "in the same order"),
        ("/a/*", "/b", "or neither does"),
        ("/a", "/b/*", "or neither does"),
        ("/a", "b", "begins with"),
        ("/a", "/b;c", "segment"),
    ],
)
def test_a_rewrite_that_fits_no_path_is_refused(path: str, to: str, said: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=re.escape(said)):
        PathRewrite(path, "", to)


def servers(*lines: tuple[str, str, bool]) -> RewriteChecker:
    """Tools by server, path there, and whether they are moved."""
    return RewriteChecker(
        UpstreamRoute((server,), RoutePattern("GET", path, f"tool {at}"), moved)
        for at, (server, path, moved) in enumerate(lines)
    )


def test_a_caller_reaches_no_tool_through_anothers_route() -> None:
    """The path that is forwarded must be the tool's at the server, by any reading of it."""
    table = servers(("s", "/v1/models/{id}", True), ("s", "/v1/models/dear", False))
    assert table.agree(0, b"GET", b"/v1/models/cheap")
    for path in (b"dear", b"Dear", b"de%61r", b"dear.json", b"dear+", b"dear%E2%80%8B"):
        assert not table.agree(0, b"GET", b"/v1/models/" + path)
    assert table.agree(1, b"GET", b"/v1/models/dear")
    assert not table.agree(1, b"GET", b"/v1/models/cheap")


def test_another_server_is_another_matter() -> None:
    """Two providers of one shape have the same paths."""
    table = servers(
        ("s", "/v1/models/{id}", True), ("t", "/v1/models/dear", True), ("u", "/", False)
    )
    assert table.tools == {0, 1}
    assert table.agree(0, b"GET", b"/v1/models/dear")
    assert table.agree(1, b"GET", b"/v1/models/dear")


def test_two_tools_may_have_one_path_at_a_server() -> None:
    """That is said in the configuration, and no caller's doing."""
    table = servers(("s", "/v1/chat", True), ("s", "/v1/chat", True), ("s", "/v1/{x}", False))
    assert table.agree(0, b"GET", b"/v1/chat")
    assert table.agree(1, b"GET", b"/v1/chat")
    assert not table.agree(2, b"GET", b"/v1/chat")


def test_two_paths_that_one_request_could_mean_are_refused() -> None:
    """Both named, and where."""
    with pytest.raises(ValueError, match=r"(?s)at their server: tool 1 .*tool 0"):
        servers(("s", "/a/{x}", True), ("s", "/{y}/b", False))
    servers(("s", "/a/{x}", False), ("s", "/{y}/b", False))  # the gateway's own routes say it


words = st.sampled_from(["a", "b", "{x}", "new"])
paths = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(words, max_size=3).filter(lambda parts: parts.count("{x}") < 2),
    st.sampled_from([[], ["*"]]),
).filter(lambda path: path != "/")


@st.composite
def moved(draw: st.DrawFn) -> tuple[str, str]:
    """A route's path, and one at the server that fits it."""
    path = draw(paths)
    if draw(st.booleans()):
        return path, path
    literals = st.lists(st.sampled_from(["a", "b", "v1", "new"]), max_size=2)
    parts = draw(literals) + ["{x}"] * ("{x}" in path) + draw(literals)
    parts += ["*"] * path.endswith("*")
    assume(parts)
    return path, "/" + "/".join(parts)


asked = st.builds(
    lambda parts, end: quote("/" + "/".join(parts) + end, safe="/%:+").encode(),
    st.lists(st.sampled_from(["a", "b", "v1", "new", "New", "n%65w", "new+", "a.b", "7", "\u200b"]),
             min_size=1, max_size=4),
    st.sampled_from(["", "/", ".json"]),
)  # fmt: skip


def substituted(path: str, to: str, raw: bytes) -> bytes:
    """What is forwarded, by a regular expression."""
    pattern = re.escape(path).replace(r"\{x\}", "([^/]+)").replace(r"\*", "(.*)")
    plain = [unquote_to_bytes(part).decode() for part in raw.split(b"/")]
    match = re.fullmatch(pattern, "/".join(plain), re.DOTALL)
    assert match is not None
    spans = [match.span(at + 1) for at in range(len(match.groups()))]
    starts = [sum(len(part) + 1 for part in plain[:at]) for at in range(len(plain))]
    kept = []
    for start, end in spans:
        first = starts.index(start)
        last = first + "/".join(plain)[start:end].count("/")
        kept.append(b"/".join(raw.split(b"/")[first : last + 1]))
    parts = iter(kept)
    return b"".join(
        [next(parts) if piece in ("{x}", "*") else piece.encode()
         for piece in re.split(r"(\{x\}|\*)", to)]
    )  # fmt: skip


@given(st.lists(moved(), min_size=1, max_size=5), st.lists(asked, min_size=1, max_size=8))
@example([("/a/{x}", "/v1/{x}"), ("/b", "/v1/new")], [b"/a/new", b"/a/New", b"/a/7"])
@example([("/a/*", "/*"), ("/b/new", "/b/new")], [b"/a/b/new", b"/a/b/n%65w"])
def test_whatever_is_forwarded_is_the_judged_tools(
    tools: list[tuple[str, str]], requests: list[bytes]
) -> None:
    """No server behind the gateway could take it for a tool's that has another path there."""
    here = [RoutePattern("GET", path, f"tool {at}") for at, (path, _) in enumerate(tools)]
    there = [RoutePattern("GET", to, f"tool {at}") for at, (_, to) in enumerate(tools)]
    try:
        router = Router(here)
        table = RewriteChecker(
            UpstreamRoute(("s",), there[at], path != to) for at, (path, to) in enumerate(tools)
        )
    except ValueError:
        assume(False)
        raise
    for raw in requests:
        tool = router.find(b"GET", raw)
        if tool < 0:
            continue
        path, to = tools[tool]
        forwarded = PathRewrite(path, "", to)(raw)
        assert forwarded == substituted(path, to, raw)
        assert (tool in table.tools) is any(path != to for path, to in tools)
        if any(path != to for path, to in tools) and table.agree(tool, b"GET", forwarded):
            same = {route.name for route in there if _shape(route.path) == _shape(to)}
            assert matched(there, "GET", unquote_to_bytes(forwarded)) in same
            exact = forwarded in [route.path.encode() for route in there]
            assert exact or served(there, "GET", forwarded) <= same


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)
