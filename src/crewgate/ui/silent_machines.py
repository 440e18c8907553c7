"""The machines that gave no whole answer, as a person may read it."""

from collections.abc import Sequence
from typing import Final

from crewgate.ipc.cluster_view import SilentMachine
from crewgate.ui.person import Person, Right

_NO_ANSWER: Final = "it gave no whole answer"


def shown(not_asked: Sequence[SilentMachine], *, is_whole: bool) -> list[SilentMachine]:
    """Return the machines; their texts may name any crew, so they are shown only if `is_whole`."""
    return [each if is_whole else SilentMachine(each.machine, _NO_ANSWER) for each in not_asked]


def shown_to(person: Person, not_asked: Sequence[SilentMachine]) -> list[SilentMachine]:
    """Return the machines as this person may read it."""
    return shown(not_asked, is_whole=person.may(Right.VIEW, ""))
