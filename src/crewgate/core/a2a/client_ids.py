"""Says what the agent gets for the ids of a client, and the client for those of the agent.

The agent has one set of ids for all clients of the gateway. A client gets each id sealed to its
branch, and an id that does not open does not exist (A2A 1.0, section 13.1).

Contexts are different, because a client may choose one, and because a list of tasks must show which
tasks are those of the branch. So the agent never gets the name of a context from a client: it gets
that name sealed, which opens for this branch only. If a message names no context, then the gateway
begins one in the same way.
"""

import re
from collections.abc import Collection
from typing import Protocol

from crewgate import limits
from crewgate.core.a2a import agent_card, agent_card_protobuf
from crewgate.core.a2a.agent_card import CardSigner, CardView
from crewgate.core.a2a.errors import (
    INVALID_AGENT_RESPONSE,
    INVALID_PARAMS,
    PUSH_NOT_SUPPORTED,
    TASK_NOT_FOUND,
    A2AError,
)
from crewgate.core.a2a.message_fields import TextKind
from crewgate.core.a2a.methods import Version
from crewgate.core.a2a.text_rewriting import TextRewriter
from crewgate.core.sealed_ids import CallIds, IdKind
from crewgate.errors import UnknownIdError

_TASK_NAME = re.compile(r"(tasks/)([^/]+)(/.*)?", re.DOTALL)
# An address without a user, in visible ASCII without "\", which browsers read as "/".
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?(?:[/?][!-\[\]-~]*)?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class TaskObserver(Protocol):
    """Notes which tasks of the agent run, by its own ids."""

    def task_runs(self, task: str) -> None:
        """Note a task that runs, or that waits for its client."""

    def task_ended(self, task: str) -> None:
        """Note a task that has ended."""


class RequestTexts(TextRewriter):
    """Replaces the texts of one request by those for the agent.

    `tenants` are the tenants that the endpoint lets through, and `push_origins` the origins to
    which its agent may push, such as "https://hooks.example:443". `context` is a fresh random text,
    or empty: the gateway begins no context.
    """

    is_strict = True
    malformed = INVALID_PARAMS

    def __init__(
        self,
        ids: CallIds,
        *,
        tenants: Collection[str] = (),
        push_origins: Collection[str] = (),
        context: str = "",
    ) -> None:
        self._ids = ids
        self._tenants = tenants
        self._push_origins = push_origins
        self._new_context = context
        self.contexts: set[str] = set()
        self.tenant = ""
        self._task_of_path = ""

    def text(self, kind: TextKind, text: str) -> str:
        """Return what the agent gets for a text of the client.

        Raises:
            A2AError: The text names what does not exist for the branch.
        """
        self.ids_converted += 1
        if kind is TextKind.TASK:
            return self.task(text)
        if kind is TextKind.TASK_NAME:
            return self._task_name(text)
        if kind is TextKind.CONTEXT:
            context = self._context_of(text)
            self.contexts.add(context)
            return context
        if kind is TextKind.PAGE:
            return self._page(text)
        if kind is TextKind.TENANT:
            return self.name_tenant(text)
        if origin_of(text) not in self._push_origins:  # of TextKind.PUSH_URL
            raise A2AError(PUSH_NOT_SUPPORTED)
        return text

    def begin_context(self) -> str:
        """Return the context for a message that names none, which it names from then on."""
        if not self._new_context:
            return ""
        context = self._ids.seal(self._new_context, IdKind.A2A_CONTEXT_OF_GATEWAY)
        self.contexts.add(context)
        return context

    def name_tenant(self, text: str) -> str:
        """Return the tenant that the request names; `tenant` is then this one.

        Raises:
            A2AError: The endpoint does not let it through, or the request names two.
        """
        if text not in self._tenants or self.tenant not in {"", text}:
            raise A2AError(INVALID_PARAMS, "there is no such tenant, or it names two")
        self.tenant = text
        return text

    def task_of_path(self, text: str) -> str:
        """Return the agent's id of the task that a path names; the body may name no other."""
        self._task_of_path = text
        return self.task(text)

    def task(self, text: str) -> str:
        """Return the agent's id of a task.

        Raises:
            A2AError: The branch has no such task, or the path names another one.
        """
        if self._task_of_path not in {"", text}:
            raise A2AError(INVALID_PARAMS, "the path names another task")
        try:
            return self._ids.open(text, IdKind.A2A_TASK)
        except UnknownIdError:
            raise A2AError(TASK_NOT_FOUND) from None

    def note_task(self, task: str, *, has_ended: bool) -> None:
        """Do nothing: no request shows the state of a task."""

    def keeps_task(self, _context_id: str) -> bool:
        """Return True: no request has a list of tasks."""
        return True

    def json_card(self, card: bytes) -> bytes:
        """Return the card as it is: no request has one."""
        return card

    def protobuf_card(self, card: bytes, _version: Version) -> bytes:
        """Return the card as it is: no request has one."""
        return card

    def _task_name(self, text: str) -> str:
        match = _TASK_NAME.fullmatch(text)
        if match is None:
            raise A2AError(TASK_NOT_FOUND)
        return match[1] + self.task(match[2]) + (match[3] or "")

    def _context_of(self, text: str) -> str:
        try:
            return self._ids.open(text, IdKind.A2A_CONTEXT)
        except UnknownIdError:
            pass
        try:
            return self._ids.seal(text, IdKind.A2A_CONTEXT_OF_CLIENT)
        except ValueError as error:
            raise A2AError(INVALID_PARAMS, f"the context: {error}") from None

    def _page(self, text: str) -> str:
        try:
            return self._ids.open(text, IdKind.A2A_PAGE)
        except UnknownIdError:
            raise A2AError(INVALID_PARAMS, "there is no such page") from None


class ResponseTexts(TextRewriter):
    """Replaces the texts of one response by those for the client.

    `view` is what an agent card shows, and `sign` signs it. `contexts` are those that the request
    named: a list of their tasks has no task of others. `observer` learns which tasks run.
    """

    is_strict = False
    malformed = INVALID_AGENT_RESPONSE

    def __init__(
        self,
        ids: CallIds,
        view: CardView,
        *,
        contexts: Collection[str] = (),
        sign: CardSigner | None = None,
        observer: TaskObserver | None = None,
    ) -> None:
        self._ids = ids
        self._view = view
        self._sign = sign
        self._observer = observer
        self._contexts = contexts
        self.hides_total = not contexts
        self._known: dict[tuple[TextKind, str], str] = {}

    def text(self, kind: TextKind, text: str) -> str:
        """Return what the client gets for a text of the agent.

        Raises:
            A2AError: The agent gave an id that is longer than the gateway seals.
        """
        known = self._known.get((kind, text))
        if known is None:
            self.ids_converted += 1
            if len(self._known) >= limits.a2a_known_ids_max:
                self._known.clear()  # a stream has no end
            try:
                known = self._known[kind, text] = self._sealed(kind, text)
            except ValueError as error:
                raise A2AError(INVALID_AGENT_RESPONSE, str(error)) from None
        return known

    def keeps_task(self, context_id: str) -> bool:
        """Return whether a task of this context of the agent is one of the branch."""
        if self._contexts:
            return context_id in self._contexts
        return self._opens(context_id, IdKind.A2A_CONTEXT_OF_GATEWAY) or self._opens(
            context_id, IdKind.A2A_CONTEXT_OF_CLIENT
        )

    def note_task(self, task: str, *, has_ended: bool) -> None:
        """Report the state of a task to the observer, unless its id is too long to be sealed."""
        if self._observer is not None and 0 < len(task.encode()) <= IdKind.A2A_TASK.bytes_max:
            (self._observer.task_ended if has_ended else self._observer.task_runs)(task)

    def json_card(self, card: bytes) -> bytes:
        """Return the agent card for the client, for one in JSON.

        Raises:
            A2AError: It cannot be read.
        """
        return agent_card.rewrite(card, self._view, self._sign)

    def protobuf_card(self, card: bytes, version: Version) -> bytes:
        """Return the agent card for the client, for one in protobuf. It has no signature.

        Raises:
            A2AError: It cannot be read.
        """
        return agent_card_protobuf.rewrite(card, version, self._view)

    def _sealed(self, kind: TextKind, text: str) -> str:
        if kind is TextKind.TASK:
            return self._ids.seal(text, IdKind.A2A_TASK)
        if kind is TextKind.TASK_NAME:
            match = _TASK_NAME.fullmatch(text)
            if match is None:
                raise ValueError("the name of a task does not begin with tasks/")
            return match[1] + self._ids.seal(match[2], IdKind.A2A_TASK) + (match[3] or "")
        if kind is TextKind.CONTEXT:
            try:
                return self._ids.open(text, IdKind.A2A_CONTEXT_OF_CLIENT)
            except UnknownIdError:
                return self._ids.seal(text, IdKind.A2A_CONTEXT)
        if kind is TextKind.PAGE:
            return self._ids.seal(text, IdKind.A2A_PAGE)
        return text

    def _opens(self, text: str, kind: IdKind) -> bool:
        try:
            self._ids.open(text, kind)
        except UnknownIdError:
            return False
        return True


def origin_of(url: str) -> str:
    """Return the origin of an address, with its port; empty if readers could differ about it."""
    match = _URL.fullmatch(url)
    if match is None:
        return ""
    scheme = match["scheme"]
    return f"{scheme}://{match['host'].lower()}:{match['port'] or _DEFAULT_PORTS[scheme]}"
