"""Work that is done in slices, so that the event loop can serve others in between.

A server chooses how long its lists are. A generator that yields after each slice leaves it to its
caller when to go on.
"""

from collections.abc import Generator
from typing import TypeVar

_T = TypeVar("_T")

# Yields after each slice, and returns the result.
Slices = Generator[None, None, _T]
