"""What a person may write for a branch: its id, the beginning of its id, or `CREW/ROLE`.

A name stands for the only branch of the crew with this role that has not ended. The beginning of an
id stands for the only branch, ended or not, whose id begins so: a revocation cannot be undone, so
nothing here guesses.
"""

import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

from crewgate import limits
from crewgate.core.cross_crew_accounts import caller
from crewgate.core.ids import uuid_bytes
from crewgate.core.tokens.claims import is_text

_ID_CHARS = 36
_BEGINNING = re.compile(
    rf"[0-9a-f-]{{{limits.branch_beginning_chars_min},{_ID_CHARS - 1}}}", re.ASCII
)
_ENDED = frozenset({"revoked", "closed", "expired"})


class BranchFacts(Protocol):
    """The members of a branch by which a reference finds it."""

    @property
    def crew(self) -> str:
        """Its crew, or the account of a call to another crew."""

    @property
    def branch(self) -> str:
        """Its id (UUID text)."""

    @property
    def role(self) -> str:
        """The role of its newest token; empty if it is unknown."""

    @property
    def state(self) -> str:
        """Its state, as the branch tree has it."""


B = TypeVar("B", bound=BranchFacts)


def is_whole_id(text: str) -> bool:
    """Return whether a text is the id of a branch."""
    try:
        uuid_bytes(text)
    except ValueError:
        return False
    return True


def is_beginning(text: str) -> bool:
    """Return whether a text can be the beginning of an id, and is no whole id."""
    return bool(_BEGINNING.fullmatch(text))


def is_name(text: str) -> bool:
    """Return whether a text is `CREW/ROLE`."""
    crew, slash, role = text.partition("/")
    return bool(crew and slash and role) and is_text(text)


def check(text: str) -> None:
    """Raise ValueError, which does not repeat the text, if it can stand for no branch."""
    if not (is_whole_id(text) or is_name(text) or is_beginning(text)):
        raise ValueError(
            "expected the id of a branch, as `crewgate tree`, `audit` and `inspect` show it; or "
            f"its first characters, at least {limits.branch_beginning_chars_min} and in lower "
            "case; or CREW/ROLE"
        )


def matching(text: str, crew: str, rows: Iterable[B]) -> list[B]:
    """Return the branches that a reference may mean, in their order.

    With `crew`, they must be branches of this crew, or of an account of it at another crew.
    """
    named, _, role = text.partition("/") if is_name(text) else ("", "", "")

    def is_meant(row: B) -> bool:
        if not row.branch or crew not in {"", row.crew, caller(row.crew)}:
            return False
        if named:
            is_of_crew = named in {row.crew, caller(row.crew)}
            return is_of_crew and row.role == role and row.state not in _ENDED
        return row.branch.startswith(text)

    return [row for row in rows if is_meant(row)]
