"""Remembers which names and URIs each branch has been shown, to find the server of a later call."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from crewgate import limits
from crewgate.core.mcp.list_kind import ListKind

_Key = tuple[bytes, ListKind]  # the table key of the branch


class Shown(NamedTuple):
    """The names of each server that a branch has been shown, and when (monotonic, seconds)."""

    names: Mapping[str, Sequence[str]]
    at: float

    @property
    def size(self) -> int:
        """How many characters the names have, and some for the list itself."""
        chars = sum(len(name) for names in self.names.values() for name in names)
        return limits.mcp_group_list_chars + chars


class ShownNames:
    """The names of one group, as one worker knows them. If there are too many, the oldest go."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, Shown] = OrderedDict()
        self._size = 0

    def put(
        self, branch: bytes, kind: ListKind, names: Mapping[str, Sequence[str]], now: float
    ) -> None:
        """Remember a list."""
        self._drop((branch, kind))
        shown = self._known[branch, kind] = Shown(names, now)
        self._size += shown.size
        while self._size > limits.mcp_group_names_chars_max and len(self._known) > 1:
            self._drop(next(iter(self._known)))

    def of(self, branch: bytes, kind: ListKind, now: float) -> Shown | None:
        """Return a list that is not too old; None if there is none."""
        shown = self._known.get((branch, kind))
        if shown is not None and now - shown.at >= limits.mcp_group_names_seconds:
            self._drop((branch, kind))
            return None
        return shown

    def _drop(self, key: _Key) -> None:
        shown = self._known.pop(key, None)
        if shown is not None:
            self._size -= shown.size
