"""The JSON Schema of a configuration: two validators take what the reader takes."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import all_documents, blocks
from jsonschema import Draft7Validator

from crewgate.cli.init.template import fresh_config
from crewgate.config import load
from crewgate.config.declaration import Key, KeyOrTable, Table, TableSchema
from crewgate.config.json_schema import SCHEMA_FILE, json_schema, json_schema_text
from crewgate.config.model import CONFIG

SCHEMA = Draft7Validator(json_schema())
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


def keys(table: TableSchema[Any] = CONFIG) -> Iterator[Key]:
    """Every key of a file."""
    for _, part in table:
        if isinstance(part, Key):
            yield part
        if isinstance(part, Table | KeyOrTable):
            yield from keys(part.of)


def described(schema: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of a schema with its path, and what it says of the key."""
    if isinstance(schema, dict):
        for name, found in schema.get("properties", {}).items():
            yield f"{path}.{name}", found
        for name, inside in schema.items():
            below = inside if name == "properties" else {"": inside}
            for key, found in below.items() if isinstance(below, dict) else ():
                yield from described(found, f"{path}.{key}" if key else path)
    elif isinstance(schema, list):
        for each in schema:
            yield from described(each, path)


@pytest.mark.parametrize("more", ["", MORE])
def test_the_schema_takes_what_the_reader_takes(whole: str, tmp_path: Path, more: str) -> None:
    """The keys of every table."""
    Draft7Validator.check_schema(json_schema())
    (tmp_path / "crewgate.toml").write_text(whole + more)
    load(tmp_path / "crewgate.toml")
    document = json.loads(json.dumps(tomllib.loads(whole + more)))
    assert [error.message for error in SCHEMA.iter_errors(document)] == []


def test_the_schema_describes_every_key() -> None:
    """The meaning, the values, and the default as a value, or in words where no value says it."""
    found = dict(described(json_schema()))
    assert len(found) > 150
    assert all(each["description"].endswith(".") for each in found.values())
    workers = found[".workers"]
    assert (workers["default"], workers["minimum"], workers["maximum"]) == (2, 0, 64)
    assert "Value: a whole number from 0 to 64." in workers["description"]
    assert found[".audit.folder"]["description"].endswith("Default: `audit` in the folder `state`.")
    assert found[".listener.client_certificate"]["enum"] == ["none", "optional", "required"]
    assert found[".listener.address"]["examples"] == ["127.0.0.1", "::"]
    assert found[".tool.price.call"]["default"] == "0.00"


def test_examples_and_defaults_are_valid() -> None:
    """By the schema, and for the reader of the file."""
    seen = 0
    for key in keys():
        for example in key.kind.described_schema.get("examples", ()):
            key.kind.read(example)
            Draft7Validator(dict(key.kind.schema)).validate(example)
            seen += 1
    assert seen > 20
    for _, found in described(json_schema()):
        if "default" in found:
            Draft7Validator(found).validate(found["default"])


# What is good, what is bad, and the line at which an editor shows the mistake.
BROKEN = [
    ("workers = 3", "workers = 65", "workers = 65"),
    ("workers = 3", "worker = 3", "worker = 3"),
    ("drain_seconds = 7", "drain_seconds = 0", "drain_seconds = 0"),
    ("port = 8443", 'port = "8443"', 'port = "8443"'),
    ('mode = "observe"\nhosts', 'mode = "log"\nhosts', 'mode = "log"'),
    ('name = "agents"', 'name = "Agents"', 'name = "Agents"'),
    ("[crew.article]", "[crew.Article]", "[crew.Article]"),
    ('["search.*", "publish.post"]', '"search.*"', 'tools = "search.*"'),
    ('"publish.post"]', '"publish..post"]', 'tools = ["search.*", "publish..post"]'),
    ('"publish.post"]', '"search.*"]', 'tools = ["search.*", "search.*"]'),
    ('price = "0.01"', "price = 0.01", "price = 0.01"),
    ('price = "0.01"', 'price = "0,01"', 'price = "0,01"'),
    ('jwks = "crews/article/jwks.json"', 'jwks = ""', 'jwks = ""'),
    ("branches = 1024", "branches = 1", "branches = 1"),
    ('env = "LOCAL_KEY"', 'env = "LOCAL-KEY"',
     'credential = { header = "x-api-key", env = "LOCAL-KEY" }'),
    ('method = "POST"\npath = "/search"', 'method = "post"\npath = "/search"', 'method = "post"'),
    ('path = "/search"', 'path = "search"', 'path = "search"'),
    ('price = "0.01"', 'price = { max = "1", request = [{ byte = true }] }',
     'price = { max = "1", request = [{ byte = true }] }'),
    ("[[listener]]", "[listener]", "[listener]"),
    # Of a missing key, an editor marks the table.
    ('jwks = "crews/article/jwks.json"\n', "", "[crew.article]"),
    ('audience = "https://gateway.example"\n', "", 'state = "run"'),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "_line"), BROKEN)
def test_the_schema_refuses_what_an_editor_can_see(
    whole: str, good: str, bad: str, _line: str
) -> None:
    """Misspelt and missing keys, other types, values beyond their bounds."""
    assert good in whole
    document = json.loads(json.dumps(tomllib.loads(whole.replace(good, bad, 1))))
    assert not SCHEMA.is_valid(document)


def taplo(folder: Path, *options: str) -> tuple[int, str]:
    """Lint all files of a folder; return the status and what Taplo prints."""
    done = subprocess.run(
        ["taplo", "lint", "--colors=never", "--no-auto-config", *options, "*.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


needs_taplo = pytest.mark.skipif(not shutil.which("taplo"), reason="taplo is not installed")


@needs_taplo
def test_taplo_takes_every_example(whole: str, tmp_path: Path) -> None:
    """By the first line of a file that `crewgate init` writes, also with its commented keys."""
    (tmp_path / SCHEMA_FILE).write_text(json_schema_text())
    fresh = fresh_config(8443, "gw")
    directive = fresh.splitlines()[0]
    assert directive == f"#:schema ./{SCHEMA_FILE}"
    all_keys = re.sub(r"^# (?=[a-z_]+ = |\[[a-z.]+\]$)", "", fresh, flags=re.MULTILINE)
    examples = [fresh, all_keys, whole, whole + MORE]
    for number, text in enumerate(examples):
        (tmp_path / f"{number}.toml").write_text(f"{directive}\n{text}")
    status, said = taplo(tmp_path)
    assert (status, "error" in said) == (0, False), said
    # Taplo has read the schema.
    (tmp_path / "0.toml").write_text(fresh.replace("workers = 2", "workers = 99"))
    assert "99 is greater than the maximum of 64" in taplo(tmp_path)[1]


@needs_taplo
def test_taplo_takes_what_the_documents_show(tmp_path: Path) -> None:
    """A page shows part of a file, so the schema for this test requires no key."""

    def optional(schema: object) -> object:
        if isinstance(schema, list):
            return [optional(each) for each in schema]
        if isinstance(schema, dict):
            return {k: optional(v) for k, v in schema.items() if k != "required" or "type" in v}
        return schema

    (tmp_path / SCHEMA_FILE).write_text(json.dumps(optional(json_schema())))
    shown = [
        (path, block)
        for path in all_documents()
        for block in blocks(path.read_text())
        if block.language == "toml" and not block.content.startswith("#:schema")
    ]
    for path, block in shown:
        (tmp_path / f"{path.stem}-{block.line}.toml").write_text(block.content)
    assert len(shown) > 20
    status, said = taplo(tmp_path, "--schema", (tmp_path / SCHEMA_FILE).as_uri())
    assert status == 0, said


@needs_taplo
def test_taplo_shows_each_mistake_at_its_key(whole: str, tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).write_text(json_schema_text())
    lines = {}
    for number, (good, bad, line) in enumerate(BROKEN):
        text = whole.replace(good, bad, 1)
        name = f"{number:02}.toml"
        (tmp_path / name).write_text(text)
        lines[name] = text.splitlines().index(line) + 1
    status, said = taplo(tmp_path, "--schema", (tmp_path / SCHEMA_FILE).as_uri())
    assert status == 1
    places = re.findall(r"(\d\d\.toml):(\d+):\d+$", said, re.MULTILINE)
    shown = {(name, int(line)) for name, line in places}
    assert shown.issuperset(lines.items()), said
