"""What is made of the declarations of all keys: the reference, the JSON schema, the template."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crewgate.cli.init.template import fresh_config
from crewgate.config import load
from crewgate.config.declaration import Key, KeyDeclaration, KeyOrTable, Table, TableSchema
from crewgate.config.model import CONFIG
from crewgate.config.reference import json_schema, markdown, summary

SCHEMA = Draft202012Validator(json_schema())
MORE = """
[ca]
trust_domain = "Crews.Example"
ocsp = "unix:state/ocsp.sock"

[control]
address = "127.0.0.1"
port = 8445
certificate = "certs/gateway.pem"
key = "gateway.key"

[cluster]
peers = ["10.0.0.2:8446", "GW2.example:8446"]
address = "127.0.0.1"
port = 8446
certificate = "certs/machine.pem"
key = "gateway/machine.key"
signing_key = "gateway/signing.key"
max_staleness_seconds = 2.5

[ledger]
url = "postgresql://crewgate@db.example/budgets"
on_unavailable = "bounded"
overdraft_credits = "50"

[crew.article.watch]
mode = "throttle"
credits_per_hour = "250"

[upstream.fleet]
endpoints = ["https://a.example", "https://b.example"]
retry_share = 0.5
tls = { server_name = "Fleet.Example" }
health = { path = "/health", interval_seconds = 2 }

[tool.scan]
method = "POST"
path = "/scan"
upstream = "fleet"
cors = { origins = ["https://app.example"], headers = ["X-Trace"] }

[tool.scan.price]
max = "0.5"
request = [{ items = "/pages", each = "0.002" }, { bytes = true, per_million = "0.1" }]
response = [{ trailer = "X-Units", per_thousand = "0.05" }]

[tool.chat]
method = "POST"
path = "/chat"
upstream = "fleet"
price = { max = "5", usage = "openai", model."m-*" = { input = "2.5", output = "10" } }

[[crossing]]
from = "article"
to = "bd"
tools = ["bd.*"]
credits_per_run = "2.5"

[crew.bd]
issuer = "https://bd.example"
jwks = "bd.json"
tools = []

[tool."bd.quote"]
method = "GET"
path = "/quote"
upstream = "fleet"
owner = "bd"
price = "0"
"""


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
        "state", "name", "branches", "revocations", "reservations", "url", "password_file",
        "durability", "per_machine", "on_unavailable", "overdraft_credits", "address", "port",
        "certificate", "key", "signing_key", "advertise",
    ]  # fmt: skip


@pytest.mark.parametrize("more", ["", MORE])
def test_the_schema_takes_what_the_reader_takes(whole: str, tmp_path: Path, more: str) -> None:
    """The keys of every table."""
    Draft202012Validator.check_schema(json_schema())
    (tmp_path / "crewgate.toml").write_text(whole + more)
    load(tmp_path / "crewgate.toml")
    document = json.loads(json.dumps(tomllib.loads(whole + more)))
    assert [error.message for error in SCHEMA.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("workers = 3", "workers = 65"),
        ("workers = 3", "worker = 3"),
        ('audience = "https://gateway.example"', ""),
        ("drain_seconds = 7", "drain_seconds = 0"),
        ("port = 8443", 'port = "8443"'),
        ('mode = "observe"\nhosts', 'mode = "log"\nhosts'),
        ("[[listener]]", "[listener]"),
        ('["search.*", "publish.post"]', '"search.*"'),
        ('price = "0.01"', "price = 0.01"),
        ('price = "0.01"', 'price = { max = "1", request = [{ byte = true }] }'),
        ("branches = 1024", "branches = 1"),
    ],
)
def test_the_schema_refuses_what_an_editor_can_see(whole: str, good: str, bad: str) -> None:
    """Misspelt and missing keys, other types, values beyond their bounds."""
    assert good in whole
    document = json.loads(json.dumps(tomllib.loads(whole.replace(good, bad, 1))))
    assert not SCHEMA.is_valid(document)


def test_what_init_writes_explains_its_keys(tmp_path: Path) -> None:
    """In the words of the reference, and it is a configuration, commented keys among it."""
    text = fresh_config(8443, "gw")
    for path, key in (("", "workers"), ("cluster", "peers"), ("listener", "hosts")):
        assert re.search(
            rf"^# {re.escape(summary(path, key))}\n(?:# )?{key} = ", text, re.MULTILINE
        )
    said = re.sub(r"^# (?=(?:[a-z_]+ = |credential))", "", text, flags=re.MULTILINE)
    (tmp_path / "crewgate.toml").write_text(said)
    config = load(tmp_path / "crewgate.toml")
    assert config.audit.sync == "second"
    assert config.upstreams[0].credential is not None


def test_a_key_that_is_not_declared_has_no_summary() -> None:
    """A template that names one is a mistake of ours."""
    for path, key in (("", "worker"), ("clusters", "peers"), ("state", "x")):
        with pytest.raises(KeyError):
            summary(path, key)
