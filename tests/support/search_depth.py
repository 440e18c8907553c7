"""How deep the searching tests dig: `CREWGATE_DEPTH=10 make test` looks at ten times as much.

It goes for worlds, examples and messages, for the kills, runs and revocations of tests that repeat
themselves, and for the seconds of storms. Each test has ten times as long too. Some have a most:
there a test has its full size, which CREWGATE_DEPTH=4 reaches. `make soak`, `make power-loss` and
`make simulate` dig on where the tests of their name end.
"""

import os

_DEPTH = int(os.environ.get("CREWGATE_DEPTH", "1"))


def deep(number: int, most: int | None = None) -> int:
    """So many of them, times what the environment asks for; not more than `most`."""
    return number * _DEPTH if most is None else min(number * _DEPTH, most)
