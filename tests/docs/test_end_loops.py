"""The rules that "End loops" shows are rules."""

from pathlib import Path

import pytest
from documents import ROOT, blocks

from crewgate.config.load import load_rules
from crewgate.core.rules.builtin import builtin_rules
from crewgate.core.rules.rule import RuleMode

PAGE = (ROOT / "docs" / "how-to" / "end-loops.md").read_text()
EXAMPLES = [each.content for each in blocks(PAGE) if each.language == "toml"]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_can_be_used(number: int, tmp_path: Path) -> None:
    """As a file of `crewgate audit what-if`, and so in a configuration."""
    file = tmp_path / "rules.toml"
    file.write_text(EXAMPLES[number])
    assert load_rules(file).rules


def test_the_built_in_rules_are_those_of_the_page() -> None:
    """With the limits that they have by default."""
    for rule in builtin_rules(RuleMode.OBSERVE, warn=4, refuse=10, end=20):
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{rule.name}` |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")][2:]
        found = [None if cell == "–" else int(cell.rpartition(" ")[2]) for cell in cells]
        assert found == list(rule.limits)
