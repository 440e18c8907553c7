"""A file with a key's old name is refused with the new one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import load
from crewgate.config.renamed_keys import RENAMED
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]

# Old key: a line of `whole`, what stands there instead, and where the key is.
PRICE = '{ max = "1", usage = "openai", model.m = { input = "1", output = "1" } }'
PLACES = {
    "away": ("[table]", '[ledger]\nurl = "sqlite:l"\naway = "open"\n[table]', "ledger.away"),
    "away_credits": (
        "[table]",
        '[ledger]\nurl = "sqlite:l"\naway_credits = "5"\n[table]',
        "ledger.away_credits",
    ),
    "hang_up": ('"0.01"', PRICE.replace("{", '{ hang_up = "drain",', 1), 'web".price.hang_up'),
    "judge": ("decide_on", "judge", 'tool."search.web".judge'),
    "most": ('"0.01"', PRICE.replace("max", "most"), 'tool."search.web".price.most'),
    "short": ('"0.01"', PRICE.replace("{", '{ short = "refuse",', 1), 'web".price.short'),
    "written": (
        '"0.01"',
        PRICE.replace("output", 'written = "1", output'),
        "price.model.m.written",
    ),
}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_is_told_the_new_one(write: Write, whole: str, old: str) -> None:
    """And nothing else: the new key is not missing besides."""
    line, instead, where = PLACES[old]
    with pytest.raises(ConfigurationError) as caught:
        load(write(whole.replace(line, instead, 1)))
    (problem,) = str(caught.value).splitlines()
    assert problem.endswith(f'{where}: this key is now called "{RENAMED[old]}"; rename it')


def test_an_old_name_elsewhere_is_any_unknown_key(write: Write, whole: str) -> None:
    """What was called so in a price is no key of a listener."""
    with pytest.raises(ConfigurationError, match="most: unknown key"):
        load(write(whole.replace("[crew.article]", 'most = "1"\n[crew.article]')))
