"""Rules on arguments: what they allow, what they refuse, and what a model reads then."""

import json
import posixpath
import unicodedata
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_depth import deep

from crewgate.core.json_schema.schema_compiler import compile_schema
from crewgate.core.mcp.arguments.argument_comparison import ArgumentComparison
from crewgate.core.mcp.arguments.argument_rules import ArgumentRules
from crewgate.core.mcp.arguments.folder_containment import is_inside
from crewgate.core.mcp.arguments.url_host import is_for_host

pieces = st.sampled_from([
    "/", "//", "\\", ".", "..", "../", "/srv/data", "srv", "data", "%2e", "%2E", "%2f", "%252e",
    "%5c", "%00", "\0", "~", "a", "b.txt", " ", "...", ";x", ":", "C:", "\uff0f", "\u2024",
    "\u2215", "\uff0e", "é", "#", "?", "%41",
])  # fmt: skip


def readings(path: str) -> set[str]:
    """The paths that servers may make of a path: decoded, normalized, with other slashes."""
    found = {path}
    for _ in range(2):
        found |= {unquote(each) for each in found}
        found |= {unicodedata.normalize("NFKC", each) for each in found}
    table = str.maketrans("\\\u2215\u2044\u2216\u00a5", "/////")
    found |= {each.translate(table) for each in found}
    found |= {each.partition("\0")[0] for each in found}
    found |= {"/".join(part.partition(";")[0] for part in each.split("/")) for each in found}
    return found | {"/".join(part.rstrip(" .") if part.strip(" .") else part for part in
                             each.split("/")) for each in found}  # fmt: skip


def ends_in(path: str, folder: str) -> bool:
    """Whether a server that resolves ".." by text stays in the folder."""
    resolved = posixpath.normpath(posixpath.join("/", path))
    resolved = "/" + resolved.lstrip("/")
    return resolved == folder or resolved.startswith(folder + "/")


@settings(max_examples=deep(300))
@given(st.lists(pieces, max_size=7).map("".join), st.booleans())
def test_no_server_reads_an_allowed_path_outside_of_its_folder(path: str, begins: bool) -> None:
    """An allowed path stays in the folder when a server decodes, normalizes or joins it."""
    path = f"/srv/data/{path}" if begins else path
    if is_inside(path, ["/srv/data"]):
        assert all(ends_in(each, "/srv/data") for each in readings(path)), path


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/srv/data", "/srv/data", True),
        ("/srv/data/", "/srv/data", True),
        ("/srv/data/a b/ü.txt", "/srv/data", True),
        ("/srv/data/100%.txt", "/srv/data", True),
        ("/srv/data/.hidden/..x", "/srv/data", True),
        ("/srv/database/a", "/srv/data", False),
        ("/srv/data/../x", "/srv/data", False),
        ("/srv/data/.. /x", "/srv/data", False),
        ("/srv/data/..;a/x", "/srv/data", False),
        ("/srv/data//x", "/srv/data", False),
        ("/srv/data/\u2025/x", "/srv/data", False),
        ("/srv/data/a\uff0f..\uff0f../x", "/srv/data", False),
        ("/SRV/data/x", "/srv/data", False),
        (" /srv/data/x", "/srv/data", False),
        ("/srv/data/" + "a" * 5000, "/srv/data", False),
        ("/etc/passwd", "/", True),
        ("a/b c.py", ".", True),
        ("/etc/passwd", ".", False),
        ("~/x", ".", False),
        ("C:/x", ".", False),
        ("file:///srv/data/x", ".", False),
        ("../x", ".", False),
        ("", ".", False),
        ("file:///srv/data/x", "file:///srv/data", True),
        ("file:///srv/data/%2e%2e/x", "file:///srv/data", False),
    ],
)
def test_paths_and_their_folders(path: str, folder: str, inside: bool) -> None:
    """Usual paths are allowed, ambiguous ones are not."""
    assert is_inside(path, [folder]) is inside


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://api.example.com/v1?q=a@b#c", True),
        ("HTTPS://API.example.com", True),
        ("https://api.example.com:443/", True),
        ("http://api.example.com:80/", True),
        ("http://build.example:8080/x", True),
        ("https://a.b.wild.example/", True),
        ("https://wild.example/", False),
        ("https://api.example.com:8443/", False),
        ("http://build.example/x", False),
        ("https://api.example.com.evil.example/", False),
        ("https://evil.example/?https://api.example.com/", False),
        ("https://api.example.com@evil.example/", False),
        ("https://evil.example\\.wild.example/", False),
        ("https://evil.example#.wild.example/", False),
        ("https://api.example.com\\@evil.example/", False),
        ("https://api.exam\tple.com/", False),
        (" https://api.example.com/", False),
        ("https://api.example.com /", False),
        ("https:/api.example.com/", False),
        ("https:\\\\api.example.com/", False),
        ("https://api.example.com./", False),
        ("https://api.example.com%2eevil.example/", False),
        ("https://api.example.com\uff0fevil.example/", False),
        ("file://api.example.com/", False),
        ("//api.example.com/", False),
    ],
)
def test_urls_and_their_hosts(url: str, allowed: bool) -> None:
    """A URL that two parsers could send to two hosts is for no host."""
    hosts = ["api.example.com", "*.wild.example", "build.example:8080"]
    assert is_for_host(url, hosts) is allowed


def refusal(comparison: dict[str, Any], arguments: str | None) -> str | None:
    where = tuple(comparison.pop("at", "/a").split("/")[1:])
    rules = ArgumentRules([ArgumentComparison(at=where, **comparison)])
    return rules.check(None if arguments is None else arguments.encode())


@pytest.mark.parametrize(
    ("comparison", "arguments", "allowed"),
    [
        ({}, '{"a": 1}', True),
        ({}, "{}", False),
        ({}, None, False),
        ({}, '{"a": null}', False),
        ({"required": False, "at_most": 1}, "{}", True),
        ({"required": False, "at_most": 1}, '{"a": null}', True),
        ({"forbidden": True}, '{"b": 1}', True),
        ({"forbidden": True}, None, True),
        ({"forbidden": True}, '{"a": false}', False),
        ({"one_of": ("x", 1, True)}, '{"a": "x"}', True),
        ({"one_of": ("x", 1)}, '{"a": 1.0}', True),
        ({"one_of": ("x", 1)}, '{"a": true}', False),
        ({"one_of": (Decimal("0.1"),)}, '{"a": 0.1}', True),
        ({"one_of": ("1",)}, '{"a": 1}', False),
        ({"one_of": ("x",)}, '{"a": ["x"]}', False),
        ({"matches": ("sandbox-*", "main")}, '{"a": "sandbox-x/y"}', True),
        ({"matches": ("sandbox-*", "main")}, '{"a": "main\\n"}', False),
        ({"matches": ("a.c",)}, '{"a": "abc"}', False),
        ({"matches": ("*.txt",)}, '{"a": "x\\ny.txt"}', True),
        ({"matches": ("*",)}, '{"a": 1}', False),
        ({"not_matches": ("main", "release-*")}, '{"a": "topic"}', True),
        ({"not_matches": ("main", "release-*")}, '{"a": "release-"}', False),
        ({"not_matches": ("main",)}, '{"a": ["main"]}', False),
        ({"under": ("/srv", "/data")}, '{"a": "/data/x"}', True),
        ({"under": ("/srv",)}, '{"a": 1}', False),
        ({"url_hosts": ("a.example",)}, '{"a": "https://a.example/"}', True),
        ({"at_least": 1, "at_most": 10}, '{"a": 1e1}', True),
        ({"at_most": 10}, '{"a": 10.000000000000000000001}', False),
        ({"at_most": 10}, '{"a": "1"}', False),
        ({"at_least": 0}, '{"a": true}', False),
        ({"at_most": Decimal("0.3")}, '{"a": 0.3}', True),
        ({"length_at_most": 2}, '{"a": "\\ud83d\\ude00b"}', True),
        ({"length_at_most": 2}, '{"a": [1, 2, 3]}', False),
        ({"length_at_most": 2}, '{"a": 1}', False),
        ({"at": "/a/b", "at_most": 1}, '{"a": {"b": 1}}', True),
        ({"at": "/a/b", "at_most": 1}, '{"a": "{}"}', False),
        ({"at": "/a/b", "at_most": 1, "required": False}, '{"a": [1]}', False),
        ({"at": "/a/b", "at_most": 1, "required": False}, '{"a": {}}', True),
        ({"at": "/a/*/b", "at_most": 1}, '{"a": [{"b": 1}, {"b": 0}]}', True),
        ({"at": "/a/*/b", "at_most": 1}, '{"a": [{"b": 1}, {"b": 2}]}', False),
        ({"at": "/a/*/b", "at_most": 1}, '{"a": [{"b": 1}, {}]}', False),
        ({"at": "/a/*", "at_most": 1}, '{"a": []}', True),
        ({"at": "/a/*", "at_most": 1}, '{"a": 1}', False),
        ({"required": False, "at_most": 1}, '{"A": 5}', False),  # some servers read it for "a"
        ({"at_most": 1}, "[]", False),
        ({"at_most": 1}, '{"a": 1, "b": 1e9999}', False),
    ],
)  # fmt: skip
def test_what_comparisons_allow(
    comparison: dict[str, Any], arguments: str | None, allowed: bool
) -> None:
    """Each comparison demands its type, an exact value, and the argument itself."""
    assert (refusal(comparison, arguments) is None) is allowed


@pytest.mark.parametrize(
    ("comparison", "arguments", "sentence"),
    [
        ({"at": "/path", "under": ("/srv/data",)}, '{"path": "/etc"}',
         ('The argument "path" is "/etc"; it must be a path in "/srv/data" without "..", "//", '
         "backslashes and escapes.")),
        ({"at": "/path", "matches": ("*.md",), "length_at_most": 9}, "{}",
         ('The argument "path" is missing; it must be a text like "*.md" and a text or an array of '
         "at most 9 characters or items.")),
        ({"at": "/files/*/mode", "one_of": ("r", "w")}, '{"files": [{"mode": "r"}, {"mode": 7}]}',
         'The argument "files/1/mode" is 7; it must be "r" or "w".'),
        ({"forbidden": True}, '{"a": 1}', 'The argument "a" is not allowed; leave it out.'),
        ({"at": "/url", "url_hosts": ("a.example",)}, '{"url": "file:///x"}',
         ('The argument "url" is "file:///x"; it must be an http or https URL with the host '
         '"a.example".')),
        ({"at": "/file_path", "at_most": 1}, '{"filePath": 1}',
         ('The arguments cannot be checked: some servers read "filePath" for "file_path"; write '
         '"file_path".')),
        ({"at": "/a/*", "at_most": 1}, json.dumps({"a": [1] * 50_000}),
         "The arguments cannot be checked, because they are too large; send less at once."),
        ({}, '{"b": 1e9999}', "The arguments cannot be checked: a number is too long."),
        ({}, "5", "The arguments must be an object."),
    ],
)  # fmt: skip
def test_a_refusal_says_which_argument_and_what_is_allowed(
    comparison: dict[str, Any], arguments: str, sentence: str
) -> None:
    """A model can mend its call by the sentence alone."""
    assert refusal(comparison, arguments) == sentence


def test_all_rules_of_a_tool_hold_together() -> None:
    """Comparisons come first, then the schema; a tool without rules allows everything."""
    schema = compile_schema({"additionalProperties": False, "properties": {"a": True, "b": True}})
    rules = ArgumentRules(
        [ArgumentComparison(at=("a",), at_most=5), ArgumentComparison(at=("b",), one_of=("x",))],
        schema,
    )
    assert rules
    assert rules.check(b'{"a": 5, "b": "x"}') is None
    assert "at most 5" in (rules.check(b'{"a": 6, "b": "y"}') or "")
    assert '"x"' in (rules.check(b'{"a": 5, "b": "y"}') or "")
    assert '"c"' in (rules.check(b'{"a": 5, "b": "x", "c": 1}') or "")
    assert not ArgumentRules()
    assert ArgumentRules().check(b'{"a": 6}') is None
