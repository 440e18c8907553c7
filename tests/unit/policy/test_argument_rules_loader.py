"""The rules of all tools, with the schemas that are in files."""

from pathlib import Path

import pytest

from crewgate import limits
from crewgate.config import load
from crewgate.errors import ConfigurationError
from crewgate.policy.argument_rules_loader import load_argument_rules, schema_files

CONFIG = """\
audience = "https://gateway.example"
workers = 0

[upstream.local]
url = "http://127.0.0.1:9000"

[mcp.files]
path = "/mcp"
upstream = "local"
price = "0"

[mcp.files.tool.list]
price = "1"

[mcp.files.tool.move]
schema = { required = ["to"] }

[mcp.files.tool.delete]
schema_file = "delete.json"
argument = [{ at = "/path", matches = ["*.txt"] }]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "crewgate.toml"
    path.write_text(CONFIG)
    return path


def test_the_rules_of_each_tool_that_has_any(path: Path) -> None:
    """A schema in a file counts as much as one in the configuration."""
    path.with_name("delete.json").write_text('{"maxProperties": 1}')
    config = load(path)
    assert schema_files(config) == (path.with_name("delete.json"),)
    rules = load_argument_rules(config)
    assert rules.keys() == {"files.move", "files.delete"}
    assert rules["files.move"].check(b"{}") is not None
    delete = rules["files.delete"]
    assert delete.check(b'{"path": "a.txt"}') is None
    assert "at most 1" in (delete.check(b'{"path": "a.txt", "force": true}') or "")
    assert '"*.txt"' in (delete.check(b'{"path": "a"}') or "")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "the schema of the tool delete cannot be read (No such file or directory)"),
        (b"{", "no JSON Schema that the gateway can check: "),
        (b"\xff", "no JSON Schema that the gateway can check: "),
        (b'{"type": "object", "type": "array"}', '"type" occurs twice'),
        (b'{"properties": {"path": {"format": "uri"}}}',
         '/properties/path: the gateway does not check "format"; remove it'),
        (b" " * (limits.argument_schema_bytes_max + 1), "larger than 131072 bytes"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_an_error_with_its_name(
    path: Path, content: bytes | None, error: str
) -> None:
    """The active configuration stays then, because the new one is not loaded."""
    file = path.with_name("delete.json")
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_argument_rules(load(path))
    assert str(caught.value).startswith(f"{file}: ")
    assert error in str(caught.value)
