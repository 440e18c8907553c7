"""Keys that were renamed. A file with an old name is refused, and the error says the new name."""

from collections.abc import Mapping
from typing import Final

# Old name: new name. An entry applies to each table that has a key of the new name.
RENAMED: Final[Mapping[str, str]] = {
    "away": "on_unavailable",
    "away_credits": "overdraft_credits",
    "hang_up": "on_disconnect",
    "judge": "decide_on",
    "most": "max",
    "short": "on_short_credit",
    "written": "cache_write",
}
