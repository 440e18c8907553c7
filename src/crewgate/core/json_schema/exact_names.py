"""Refuses an object with a member that a server may read for another one.

Such a member is no failure, which a `not` in a schema would turn around, but an error: no rule
about `path` says anything of a `Path` that a server takes for `path`.
"""

from collections.abc import Iterable, Mapping

from crewgate.core.json_member_names import folded_words
from crewgate.core.json_schema.failure import UncheckableValueError
from crewgate.core.json_schema.json_values import JSONValue, shown_text
from crewgate.core.json_schema.work_budget import WorkBudget

_CHARS_PER_STEP = 16  # of a name that is folded


class ExactNames:
    """The names that rules are about."""

    __slots__ = ("_by_folded", "_known")

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._by_folded = {folded_words(name): name for name in self._known}

    def __bool__(self) -> bool:
        """Whether there are any names."""
        return bool(self._known)

    def check(self, members: Mapping[str, JSONValue], work: WorkBudget) -> None:
        """Raise UncheckableValueError if a member has another spelling of a name."""
        for name in members:
            work.spend(1 + len(name) // _CHARS_PER_STEP)
            if name in self._known:
                continue
            meant = self._by_folded.get(folded_words(name))
            if meant is not None:
                raise UncheckableValueError(
                    f'checked: some servers read "{shown_text(name)}" for "{shown_text(meant)}"; '
                    f'write "{shown_text(meant)}"'
                )
