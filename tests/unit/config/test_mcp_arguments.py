"""The rules on arguments as a configuration says them, and their mistakes."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from crewgate.config.declaration import TableSchema
from crewgate.config.mcp import MCPToolConfig
from crewgate.config.toml_table_reader import TOMLTableReader
from crewgate.core.mcp.arguments.argument_rules import ArgumentRules

ONE = '[[argument]]\nat = "/a"\n'


def read(text: str) -> tuple[MCPToolConfig, list[str]]:
    problems: list[str] = []
    section = TOMLTableReader(tomllib.loads(text), "tool.t", problems, Path("/etc/crewgate"))
    return TableSchema(MCPToolConfig).read(
        section, {"price": 0, "charge_unfinished": True}, name="t"
    ), problems


def test_comparisons_and_a_schema() -> None:
    """Numbers are the decimals that the file shows; a path is relative to the file."""
    tool, problems = read("""
        [[argument]]
        at = "/files/*/size"
        required = false
        at_most = 0.1
        [[argument]]
        at = "/mode"
        one_of = ["r", 1, true, 2.5]
        [schema.properties.mode]
        maxLength = 3
        """)
    assert not problems
    size, mode = tool.comparisons
    assert (size.at, size.required, size.at_most) == (("files", "*", "size"), False, Decimal("0.1"))
    assert mode.one_of == ("r", 1, True, Decimal("2.5"))
    rules = ArgumentRules(tool.comparisons, tool.schema)
    assert rules.check(b'{"mode": "r", "files": [{"size": 0.10}]}') is None
    assert rules.check(b'{"mode": "r", "files": [{"size": 0.1000000000000000055}]}') is not None
    tool, problems = read('schema_file = "a.json"')
    assert (tool.schema_file, problems) == (Path("/etc/crewgate/a.json"), [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[argument]]", "tool.t.argument[0].at: missing; expected the place of an argument"),
        ('[[argument]]\nat = "/"\nforbiden = true', 'forbiden: unknown key; did you mean "forb'),
        ('[[argument]]\nat = "a"', 'at = "a": expected the place'),
        ('[[argument]]\nat = ""', "name one of them"),
        (ONE + "forbidden = true\nat_most = 1", "forbidden: no other key has an effect"),
        (ONE + "forbidden = true\nrequired = true", "forbidden: no other key has an effect"),
        (ONE + "required = false", "argument[0]: no effect; add one of one_of, matches"),
        (ONE + 'under = ["/srv"]\nat_most = 1', "under, at_most: no value is both a text and"),
        (ONE + "at_least = 2\nat_most = 1", "at_least: more than at_most"),
        (ONE + "one_of = []", "one_of = []: expected a list of 1 to 256"),
        (ONE + "one_of = [[1]]", "one_of = [[1]]: expected"),
        (ONE + "one_of = [1, 1]", "an entry is repeated"),
        (ONE + 'matches = "a"', 'matches = "a": expected a list'),
        (ONE + "at_most = nan", "at_most = NaN: expected a number (JSON has no nan)"),
        (ONE + "at_most = true", "at_most = true: expected a number"),
        (ONE + 'under = ["/srv/../etc"]', 'write it without "..", "//"'),
        (ONE + 'under = ["/srv/"]', 'write it without "..", "//"'),
        (ONE + 'under = ["//srv"]', 'write it without "..", "//"'),
        (ONE + 'url_hosts = ["https://a.example"]', "each a host such as"),
        (ONE + 'url_hosts = ["A.example"]', "each a host such as"),
        (ONE + "length_at_most = -1", "length_at_most = -1: expected a whole number"),
        ("schema = 1", "schema = 1: expected a JSON Schema"),
        ('schema = { format = "uri" }', 'the gateway does not check "format"'),
        ("schema = { const = 1979-05-27 }", "JSON has no dates"),
        ('schema = {}\nschema_file = "a"', "expected schema or schema_file, and not both"),
        (ONE * 65, "tool.t.argument: 65 tables; at most 64 are possible"),
    ],
)
def test_a_mistake_is_reported_with_its_place(text: str, problem: str) -> None:
    """A rule without effect, or one that no value can keep, is a mistake."""
    _, problems = read(text)
    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize(
    "folder", ["/", "/srv", ".", "data/in", "file:///srv", "C:/data", "https://a.example/v1", "é"]
)
def test_a_folder_may_have_each_usual_form(folder: str) -> None:
    """A path, a relative path, a URL, a drive."""
    assert read(f'{ONE}under = ["{folder}"]')[1] == []
