"""What is made of the declarations of all keys: the reference and the template."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crewgate.cli.init.template import fresh_config
from crewgate.config import load
from crewgate.config.declaration import Key, KeyDeclaration, KeyOrTable, Table, TableSchema
from crewgate.config.model import CONFIG
from crewgate.config.reference import markdown, summary


def parts(table: TableSchema[Any] = CONFIG) -> Iterator[tuple[str, KeyDeclaration]]:
    """Every key and table of a file, by its name."""
    for field, part in table:
        yield part.key(field), part
        if isinstance(part, Table | KeyOrTable):
            yield from parts(part.of)


def test_every_key_is_explained_in_a_sentence() -> None:
    """And a default that is not plain is said in words."""
    for name, part in parts():
        assert re.fullmatch(r'[A-Z"`].*\.', part.text), name
        assert len(part.text) <= 160, name
        assert part.absent or not callable(part.default), name


def test_the_reference_has_every_key_once() -> None:
    """A row for each, a section for each table."""
    text = markdown()
    keys = [name for name, part in parts() if isinstance(part, Key)]
    assert re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE).__len__() == len(keys)
    assert all(len(line.split(" | ")) == 5 for line in text.splitlines() if line[:3] == "| `")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert {"`[[listener]]`", "`[crew.NAME.watch]`", "`[tool.NAME.price.model.NAME]`"} < {*headings}
    assert len(headings) == len(set(headings))


@pytest.mark.parametrize(
    "row",
    [
        "| `workers` | a whole number from 0 to 64 | `2` |",
        "| `drain_seconds` | seconds, more than 0 and at most 3600 | `5` |",
        '| `root` | a path, relative to this file | `"certs/ca.pem"` |',
        '| `url` | a URL such as "https://api.example/v1", without query or user | required, or',
        "| `strikes` | a whole number from 1 to 60 | `3` | Minutes over a limit",
        '| `call` | credits as a text such as "2.50", at most "549755.813887" | `"0.00"` |',
        '| `carriers` | a list of at most 3, each "authorization" or "x-api-key" or',
        "| `folder` | a path, relative to this file | `audit` in the folder `state` |",
    ],
)
def test_a_row_says_value_and_default_as_the_file_has_them(row: str) -> None:
    """With units and bounds."""
    assert row in markdown()


def test_the_reference_says_what_waits_for_a_restart() -> None:
    """Keys of their own, and all keys of a table that is read once."""
    rows = [line for line in markdown().splitlines() if line.endswith(" restart |")]
    assert [re.findall("`([a-z_]+)`", row)[0] for row in rows] == [
        "state", "name", "branches", "revocations", "reservations", "proofs", "url",
        "password_file", "durability", "per_machine", "on_unavailable", "overdraft_credits",
        "address", "port", "certificate", "key", "signing_key", "advertise",
    ]  # fmt: skip


def test_what_init_writes_explains_its_keys(tmp_path: Path) -> None:
    """In the words of the reference, and it is a configuration, commented keys among it."""
    text = fresh_config(8443, "gw")
    for path, key in (("", "workers"), ("cluster", "peers"), ("listener", "hosts")):
        assert re.search(
            rf"^# {re.escape(summary(path, key))}\n(?:# )?{key} = ", text, re.MULTILINE
        )
    said = re.sub(r"^# (?=[a-z_]+ = |\[[a-z.]+\]$)", "", text, flags=re.MULTILINE)
    (tmp_path / "crewgate.toml").write_text(said)
    config = load(tmp_path / "crewgate.toml")
    assert config.audit.sync == "second"
    assert config.upstreams[0].credential is not None
    assert config.mcp[0].upstream == config.upstreams[1].name


def test_a_key_that_is_not_declared_has_no_summary() -> None:
    """A template that names one is a mistake of ours."""
    for path, key in (("", "worker"), ("clusters", "peers"), ("state", "x")):
        with pytest.raises(KeyError):
            summary(path, key)
