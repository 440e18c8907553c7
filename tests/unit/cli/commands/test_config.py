"""`crewgate config`: what it says of the configuration file."""

import json
from pathlib import Path

from cli_runner import Run

from crewgate import limits
from crewgate.config.json_schema import SCHEMA_FILE


def test_the_schema_is_printed_without_a_file(run: Run) -> None:
    """For an editor; nothing is checked."""
    result = run("config", "schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"]["workers"]["maximum"] == limits.workers_max


def test_init_writes_the_same_schema_beside_the_configuration(run: Run, fresh: Path) -> None:
    """The first line of the configuration names it."""
    text = (fresh.parent / SCHEMA_FILE).read_text()
    assert text == run("config", "schema").stdout
    assert fresh.read_text().startswith(f"#:schema ./{SCHEMA_FILE}\n")
