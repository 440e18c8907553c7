"""How deep the searching tests dig: `CREWGATE_DEPTH=10 make test` looks at ten times as much."""

import os

_DEPTH = int(os.environ.get("CREWGATE_DEPTH", "1"))


def deep(number: int) -> int:
    """So many worlds, examples or messages, times what the environment asks for."""
    return number * _DEPTH
