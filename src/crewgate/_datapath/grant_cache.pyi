"""Keeps values that depend on a grant alone: most calls have the grant of an earlier call."""

from collections.abc import Callable
from typing import Generic, TypeVar

from crewgate.core.tokens.grant import Grant

_T = TypeVar("_T")

class GrantCache(Generic[_T]):
    """A bounded cache of the values that `make` returns for grants; a full one drops the oldest.

    The gate returns one object for all calls of a token. The cache compares its address, because
    the hash of a grant takes as long as making most of these values. It keeps the object, so that
    no other grant gets the same address.
    """

    def __init__(self, make: Callable[[Grant], _T]) -> None: ...
    def __len__(self) -> int: ...
    def of(self, grant: Grant) -> _T:
        """Return the value of `grant`."""
