"""Declarations of keys: what a struct says is what is read, and nothing that a file has raises."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.config import values
from crewgate.config.declaration import (
    FlattenedKeys,
    Key,
    KeyDeclaration,
    KeyOrTable,
    Scope,
    Table,
    TableList,
    TableMap,
    TableSchema,
)
from crewgate.config.model import CONFIG
from crewgate.config.toml_table_reader import TOMLTableReader


def twice(scope: Scope) -> int:
    return 2 * int(scope["size"])


class Ends(msgspec.Struct, frozen=True):
    low: Annotated[int, values.integer(0, 9), "The lower end."] = 0
    high: Annotated[int, values.integer(0, 9), "The upper end."] = 9

    def check(self, section: TOMLTableReader) -> None:
        if self.low > self.high:
            section.problem("low is above high")

    def build(self) -> dict[str, object]:
        return {"ends": range(self.low, self.high)}


class Part1(msgspec.Struct, frozen=True):
    name: str
    color: Annotated[Literal["red", "blue"], "The color."] = "red"


class Thing(msgspec.Struct, frozen=True):
    file: Annotated[values.FilePath, "A file.", Key(default=Path("default.txt"))]
    size: Annotated[int, values.integer(1, 5), "The size.", Key(name="length")]
    area: Annotated[int, values.integer(1, 25), "The area.", Key(default=twice, absent="twice")]
    ends: Annotated[range, FlattenedKeys(of=TableSchema(Ends))]
    parts: Annotated[tuple[Part1, ...], "The parts.", TableMap(name="part", max_count=2)]
    is_new: Annotated[bool, "Whether it is new."] = False
    owner: Annotated[Part1 | None, "The owner.", Table(of=TableSchema(Part1), default=None)] = None
    note: str = "not a key"


THING = TableSchema(Thing)


def read(document: dict[str, Any]) -> tuple[Thing | None, list[str]]:
    problems: list[str] = []
    return THING.read(TOMLTableReader(document, "thing", problems, Path("/at")), {}), problems


def test_the_fields_of_a_struct_are_the_keys_of_a_table() -> None:
    """Names, defaults, paths, tables and groups are as the annotations say."""
    assert read({"length": 3}) == (
        Thing(Path("/at/default.txt"), 3, 6, range(9), ()),
        [],
    )
    found, problems = read(
        {"length": 1, "file": "/x", "area": 9, "low": 4, "part": {"a": {"color": "blue"}, "b": {}},
         "is_new": True}
    )  # fmt: skip
    parts = (Part1("a", "blue"), Part1("b"))
    assert (found, problems) == (Thing(Path("/x"), 1, 9, range(4, 9), parts, is_new=True), [])


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, ["thing.length: missing; expected a whole number from 1 to 5"]),
        ({"length": 1, "size": 1}, ["thing.size: unknown key; known: file, length, area, low, "]),
        ({"length": 1, "low": 8, "high": 2}, ["thing: low is above high"]),
        # Of keys that are wrong by themselves it is not asked whether they go together.
        ({"length": 9, "low": 8, "high": 2}, ["thing.length = 9: expected"]),
        (
            {"length": 9, "low": -1, "part": {"A": {"colour": "red"}}},
            [
                "thing.length = 9: expected",
                "thing.low = -1: expected",
                "thing.part.A: the name 'A': expected a name",
                'thing.part.A.colour: unknown key; did you mean "color"?',
            ],
        ),
        ({"length": 1, "part": {"a": {}, "b": {}, "c": {}}}, ["thing.part: 3 tables; at most 2"]),
        ({"length": 1, "part": [1], "is_new": 1}, ["thing.part = [1]:", "thing.is_new = 1:"]),
    ],
)
def test_all_mistakes_are_told_at_once(document: dict[str, Any], told: list[str]) -> None:
    """And then there is no value."""
    found, problems = read(document)
    assert found is None
    assert len(problems) == len(told)
    for text in told:
        assert any(problem.startswith(text) for problem in problems), problems


def test_a_type_that_nobody_can_read_is_no_declaration() -> None:
    """It is told as soon as the program is loaded."""

    class Wrong(msgspec.Struct):
        size: Annotated[int, "The size."]

    with pytest.raises(TypeError, match="the annotation needs a ValueParser"):
        TableSchema(Wrong)


def test_only_a_table_that_is_there_once_can_wait_for_a_restart() -> None:
    """Of listeners, crews and tools nobody compares the old ones with the new ones."""
    for _, part in CONFIG:
        if isinstance(part, TableList | TableMap):
            assert not part.restart
            assert not any(key.restart for _, key in part.of)


JUNK = st.none() | st.booleans() | st.integers(-2, 9) | st.floats(0, 9) | st.text(max_size=3)
WORDS = st.sampled_from(
    ["", "1", "a", "/a", "required", "majority", "127.0.0.1", "::", "127.0.0.1:1", "http://h/v1",
     "https://h", "unix:x", "sqlite:x", "postgresql:///b", "bounded", "openai", "POST", "a.*"]
)  # fmt: skip
VALUES = JUNK | WORDS | st.lists(WORDS | JUNK, max_size=2)


def documents(part: KeyDeclaration) -> st.SearchStrategy[object]:
    """Values of a key or table, good ones among them."""
    if isinstance(part, KeyOrTable):
        return VALUES | tables(part.of)
    if isinstance(part, TableMap):
        return VALUES | st.dictionaries(
            st.sampled_from(["a", "b.c", "B"]), tables(part.of), max_size=2
        )
    if isinstance(part, TableList):
        return VALUES | st.lists(tables(part.of), max_size=2)
    return VALUES | tables(part.of) if isinstance(part, Table) else VALUES


def tables(table: TableSchema[Any]) -> st.SearchStrategy[dict[str, object]]:
    """Some of the keys of a table."""
    return st.fixed_dictionaries(
        {}, optional={part.key(field): documents(part) for field, part in table}
    )


@given(tables(CONFIG))
def test_whatever_a_file_has_is_a_configuration_or_a_mistake(document: dict[str, object]) -> None:
    """Nothing is raised, whichever keys are good and whichever are not."""
    problems: list[str] = []
    plain = json.loads(json.dumps(document))
    config = CONFIG.read(
        TOMLTableReader(plain, "", problems, Path("/at")), {}, path=Path("/at/c.toml")
    )
    assert (config is None) == bool(problems)
