"""The interface between the readers of messages and what decides about the texts in them."""

from abc import ABC, abstractmethod

from crewgate.core.a2a.errors import ErrorType
from crewgate.core.a2a.message_fields import TextKind
from crewgate.core.a2a.methods import Version


class TextRewriter(ABC):
    """Decides about the texts of one message.

    Attributes:
        is_strict: No reader may take the message for another one, so a member with two spellings or
            of a wrong type is an error.
        malformed: The type of this error, and of a message that cannot be read.
        hides_total: The total of a list counts tasks of other branches.
        ids_converted: How many ids it has sealed or opened so far, which takes time.
    """

    is_strict: bool
    malformed: ErrorType
    hides_total = False
    ids_converted = 0

    @abstractmethod
    def text(self, kind: TextKind, text: str) -> str:
        """Return what takes the place of a text, which is not empty.

        Raises:
            A2AError: The message must not pass.
        """

    def begin_context(self) -> str:
        """Return the context for a message that names none; empty if it gets none."""
        return ""

    @abstractmethod
    def keeps_task(self, context_id: str) -> bool:
        """Return whether the client gets a task of a list; `context_id` is the agent's."""

    @abstractmethod
    def note_task(self, task: str, *, has_ended: bool) -> None:
        """Note the state of a task, which the message shows; `task` is the agent's id."""

    @abstractmethod
    def json_card(self, card: bytes) -> bytes:
        """Return the agent card for the client, for one in JSON.

        Raises:
            A2AError: It cannot be read.
        """

    @abstractmethod
    def protobuf_card(self, card: bytes, version: Version) -> bytes:
        """Return the agent card for the client, for one in protobuf.

        Raises:
            A2AError: It cannot be read.
        """
