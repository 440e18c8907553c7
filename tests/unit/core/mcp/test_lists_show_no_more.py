"""For random servers, policies and transports, a list shows only what its caller may use."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tariffs import cut, places
from whole_slices import fed

from crewgate import limits
from crewgate._native.json_rpc import read_message
from crewgate.core.event_stream import EventReader
from crewgate.core.fair_share_limiter import FairShareLimiter
from crewgate.core.mcp import tool_ids
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.message_filter import CallerView, MessageFilter
from crewgate.core.mcp.resource_classes import AmbiguousURIError, ResourceClasses
from crewgate.core.mcp.response_rewriting import MCPResponseRewriter
from crewgate.core.policy import scope

METHODS = {
    ListKind.TOOLS: "tools/list",
    ListKind.PROMPTS: "prompts/list",
    ListKind.RESOURCES: "resources/list",
    ListKind.TEMPLATES: "resources/templates/list",
}
CLASSES = ResourceClasses({"docs": ["file:///docs/*"], "keys": ["file:///docs/keys/*", "k:*"]})
PATTERNS = [
    "files.*", "files.read.*", "files.Read", "files.read", "other.*", "files:prompts.*",
    "files:prompts.read", "files:resources.*", "files:resources.docs", "files:resources.other",
]  # fmt: skip
NAMES = {
    ListKind.TOOLS: ["read", "Read", "read.all", "delete", "read-all", "rea", "a b", "", "é"],
    ListKind.PROMPTS: ["read", "read.all", "Read", "a b", "\n"],
    ListKind.RESOURCES: [
        "file:///docs/a", "file:///docs/keys/a", "file:///docs/../docs/b", "k:1", "K:1", "http://x",
        "file:///docs//keys/b", "nothing", "",
    ],
    ListKind.TEMPLATES: [
        "file:///docs/{a}", "file:///docs/keys/{a}", "file:///{+a}", "k:{a}", "h:{a}", "{a}",
        "K:{x}",
    ],
}  # fmt: skip


class Entry(NamedTuple):
    """An entry of the server: its name, and its text, in which the mark is several times."""

    name: str
    text: bytes
    mark: bytes


class Page(NamedTuple):
    entries: list[Entry]
    cursor: str
    body: bytes  # of the whole response


def allows(kind: ListKind, patterns: Sequence[str]) -> Callable[[str], bool]:
    """The rights of a token with these patterns, from the ids of tools, prompts and classes."""

    def is_granted(part: str) -> bool:
        return any(scope.matches(pattern, part) for pattern in patterns)

    def may_read(uri: str) -> bool:
        try:
            return is_granted(tool_ids.resource_id("files", CLASSES.class_of(uri)))
        except AmbiguousURIError:
            return False

    def may_expand(template: str) -> bool:
        classes = CLASSES.classes_of_template(template)
        return any(is_granted(tool_ids.resource_id("files", each)) for each in classes)

    return {
        ListKind.TOOLS: lambda name: is_granted(tool_ids.tool_id("files", name)),
        ListKind.PROMPTS: lambda name: is_granted(tool_ids.prompt_id("files", name)),
        ListKind.RESOURCES: may_read,
        ListKind.TEMPLATES: may_expand,
    }[kind]


@st.composite
def pages(draw: st.DrawFn, kind: ListKind) -> list[Page]:
    """The lists of a server: entries with all members of MCP, some of them broken."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    made, number = [], 0
    for _ in range(draw(st.integers(1, 3))):
        entries, texts = [], []
        for name in draw(st.lists(st.sampled_from(NAMES[kind]), max_size=6)):
            number += 1
            mark = f"MARK{number}."
            fields = {
                "description": f"{mark} é{mark}",
                kind.key: name,
                "inputSchema": {"properties": {mark: {"x-mcp-header": mark, "maximum": 1.50}}},
                "_meta": {"x": [mark, None, True]},
            }
            broken = [
                mark,
                [mark, fields],
                {**fields, kind.key: 5},
                {**fields, kind.key.upper(): "read"},
            ]
            written = dice.choice([*broken, *[fields] * 30])
            text = json.dumps(
                written, ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, None, 1])
            ).encode()
            entries.append(Entry(name if written is fields else "", text, mark.encode()))
            texts.append(text)
        result = b'{"%b" :[%b], "nextCursor":"%d","others":%b,"ttlMs":70}' % (
            kind.member.encode(), dice.choice([b",", b" ,\n"]).join(texts), number,
            b"[%b]" % b",".join(texts),
        )  # fmt: skip
        made.append(Page(entries, str(number), b'{"result":%b,"id":7, "jsonrpc":"2.0"}' % result))
    return made


@pytest.fixture(autouse=True, scope="module")
def short_slices() -> Iterator[None]:
    """Each entry of a list is a slice of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "mcp_slice_entries", 1)
        yield


def fetched(each: MCPResponseRewriter, body: bytes, at: list[int], *, streams: bool) -> bytes:
    """All bytes that a client gets when the body arrives in pieces."""
    kind = b"text/event-stream" if streams else b"application/json"
    each.begin(200, [(b"content-type", kind)])
    pieces = [fed(each, piece, ends=False) for piece in cut(body, at)]
    return b"".join([*pieces, fed(each, b"", ends=True)])


@given(
    st.sampled_from(ListKind).flatmap(lambda kind: st.tuples(st.just(kind), pages(kind))),
    st.lists(st.sampled_from(PATTERNS), max_size=4),
    st.booleans(),
    st.sampled_from(["body", "stream", "resumed"]),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    places,
)
def test_a_list_shows_what_the_caller_may_use_and_no_byte_more(
    served: tuple[ListKind, list[Page]],
    patterns: list[str],
    is_modern: bool,
    transport: str,
    end: bytes,
    at: list[int],
) -> None:
    """Entries that stay are byte for byte those of the server, in their order."""
    kind, answers = served
    may_use = allows(kind, patterns)
    view = CallerView({kind: may_use}, 50 if is_modern else None, ["2026-07-28"])
    for page in answers:
        method = "" if transport == "resumed" else METHODS[kind]
        each = MCPResponseRewriter(
            read_message,
            [MessageFilter(method, view)],
            request_id=None if transport == "resumed" else 7,
            room=FairShareLimiter(2**30),
        )
        body = page.body
        if transport != "body":
            lines = [b": ping", b"", b"id: 1", b"event: message"]
            lines += [b"data: " + line for line in page.body.split(b"\n")]
            body = end.join([*lines, b"", b""])
        out = fetched(each, body, at, streams=transport != "body")
        text = out
        if transport != "body":
            [text] = [
                found.data for found in EventReader(2**20).feed(out) if found.data is not None
            ]
        kept: dict[str, bytes] = {}
        for entry in page.entries:
            if entry.name and kind.is_served(entry.name) and may_use(entry.name):
                kept.setdefault(entry.name, entry.text)
            if entry.text not in kept.values():
                assert entry.mark not in out
        assert b'"%b":[%b]' % (kind.member.encode(), b",".join(kept.values())) in text
        caching = {"ttlMs": 50, "cacheScope": "private"} if is_modern else {}
        assert json.loads(text) == {
            "jsonrpc": "2.0",
            "id": 7,
            "result": {
                kind.member: [json.loads(entry) for entry in kept.values()],
                "nextCursor": page.cursor,
                **caching,
            },
        }
