"""Limits how many bytes of documents wait for the browsers of one person.

A document stays in memory until its browser has read it, and an exported run can have a hundred
megabytes. A browser that reads slowly is disconnected only when it reads nothing for a minute.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS


class DocumentRoom:
    """The bytes of the documents that are being sent to each person."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, person: str, size: int) -> Iterator[None]:
        """Count a document while the block runs. Raises ControlError 429 over the bound.

        A person may always have one, however large it is.
        """
        held = self._held[person]
        if held and held + size > limits.ui_documents_bytes_max:
            raise TOO_MANY_REQUESTS.error(
                f"{person} has not yet got the documents of before; wait for their ends"
            )
        self._held[person] += size
        try:
            yield
        finally:
            self._held[person] -= size
            self._held += Counter()  # forget who waits for none
