"""Finds the endpoint of a group that a message concerns, and the message as that endpoint gets it.

Only what the caller may use counts, so neither a choice nor an error shows what else there is.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from crewgate._native.json_rpc import JSONRPCMessage, read_message
from crewgate.core.mcp import group_names, tool_ids
from crewgate.core.mcp.group_names import VisibleNames
from crewgate.core.mcp.list_kind import ListKind
from crewgate.core.mcp.methods import METHODS, Action
from crewgate.core.mcp.rpc_errors import RefusedMessageError, bad_params, unknown_method
from crewgate.core.sealed_ids import IdKind
from crewgate.core.terminal_text import printable
from crewgate.errors import UnknownIdError
from crewgate.gateway.mcp.opened_ids import subscribed_resources, subscribed_tasks
from crewgate.gateway.mcp_group.reached_member import ReachedMember

_LIST_CHANGES = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")


class Choice(NamedTuple):
    """An endpoint, and the message for it."""

    reached: ReachedMember
    message: JSONRPCMessage


class NamesNeededError(Exception):
    """The worker has to ask the endpoints for lists of these kinds first."""

    def __init__(self, *kinds: ListKind) -> None:
        super().__init__(kinds)
        self.kinds = kinds


class MemberChooser:
    """Chooses for one message of one caller."""

    def __init__(
        self,
        reached: Sequence[ReachedMember],
        message: JSONRPCMessage,
        known: Callable[[ListKind], VisibleNames | None],
    ) -> None:
        """`reached` is not empty.

        `known` returns the names or URIs of one kind that the caller has been shown; None if the
        worker does not know them.
        """
        self._reached = reached
        self._message = message
        self._known = known

    def choose(self) -> Choice:
        """Return the endpoint.

        Raises:
            NamesNeededError: That depends on lists that the worker does not know.
            RefusedMessageError: The message names nothing, or what several endpoints have.
        """
        message = self._message
        method = METHODS.get(message.method)
        action = None if method is None else method.action
        if action is Action.TOOL:
            return self._named(ListKind.TOOLS, message.name, ("params", "name"))
        if action is Action.PROMPT:
            return self._named(ListKind.PROMPTS, message.name, ("params", "name"))
        if action is Action.RESOURCE:
            return Choice(self._reader(message.uri or ""), message)
        if action is Action.COMPLETE:
            return self._completed()
        if action is Action.TASK:
            return Choice(self._owner(message.task_id or ""), message)
        if action is Action.LISTEN:
            return Choice(self._listened(), message)
        for each in self._reached:
            if message.method in each.endpoint.config.unchecked_methods:
                return Choice(each, message)
        raise unknown_method(message.method)

    def _named(self, kind: ListKind, text: str | None, path: tuple[str, ...]) -> Choice:
        """Return the endpoint that has a tool or a prompt."""
        if text is None or not kind.is_served(text):
            raise bad_params(f"{'.'.join(path)} is not the name of a {kind.member[:-1]}.")
        every = {each.name: each for each in self._reached}
        found = group_names.prefixed(text, dict.fromkeys(every, ()))
        if found is not None and group_names.is_shortened(found.name):
            found = group_names.prefixed(text, self._shown(kind))
        if found is None:
            allowed = [each for each in self._reached if _allows(each, kind, text)]
            if len(allowed) > 1:
                shown = self._shown(kind)
                allowed = [each for each in allowed if text in shown[each.name]]
                if not allowed:
                    raise _unknown(kind, text)
            if len(allowed) > 1:
                raise _ambiguous(kind, text, allowed)
            # If no endpoint allows it, the first one says so.
            return Choice((allowed or self._reached)[0], self._message)
        if found.name == text:
            return Choice(every[found.server], self._message)
        message = read_message(self._message.with_text(path, found.name))
        return Choice(every[found.server], message)

    def _shown(self, kind: ListKind) -> dict[str, Collection[str]]:
        """Return the names that the caller has been shown of each endpoint."""
        known = self._known(kind)
        if known is None:
            raise NamesNeededError(kind)
        return {each.name: known.get(each.name, ()) for each in self._reached}

    def _reader(self, uri: str) -> ReachedMember:
        """Return the first endpoint that lists a URI, whose template fits, or that allows it."""
        allowed = [each for each in self._reached if _allows(each, ListKind.RESOURCES, uri)]
        if len(allowed) < 2:  # noqa: PLR2004 - there is nothing to choose from
            return (allowed or self._reached)[0]
        lists = [self._known(kind) for kind in (ListKind.RESOURCES, ListKind.TEMPLATES)]
        if None in lists:
            raise NamesNeededError(ListKind.RESOURCES, ListKind.TEMPLATES)
        for names in lists:
            for each in allowed:
                if uri in (names or {}).get(each.name, ()):
                    return each
        templates = lists[-1] or {}
        return max(allowed, key=lambda each: _fit(uri, templates.get(each.name, ())))

    def _completed(self) -> Choice:
        kind = self._message.text("params", "ref", "type")
        if kind == "ref/prompt":
            path = ("params", "ref", "name")
            return self._named(ListKind.PROMPTS, self._message.text(*path), path)
        uri = self._message.text("params", "ref", "uri")
        return Choice(self._reader(uri or ""), self._message)

    def _owner(self, task: str) -> ReachedMember:
        """Return the endpoint that gave the branch a task; the first one if none did."""
        for each in self._reached:
            try:
                each.ids.open(task, IdKind.MCP_TASK)
            except UnknownIdError:
                continue
            return each
        return self._reached[0]

    def _listened(self) -> ReachedMember:
        """Return the one endpoint whose changes a client wants to hear of."""
        message = self._message
        concerned = {self._reader(uri).name for uri in subscribed_resources(message)}
        concerned |= {self._owner(task).name for task in subscribed_tasks(message)}
        if any(
            message.member("params", "notifications", each) == b"true" for each in _LIST_CHANGES
        ):
            concerned = {each.name for each in self._reached}
        if len(concerned) > 1:
            raise bad_params(
                "A subscription at a group can concern one of its servers; this one concerns "
                f"{', '.join(sorted(concerned))}. Subscribe to each one separately, and to changes "
                "of lists at the paths of the servers."
            )
        found = [each for each in self._reached if each.name in concerned]
        return (found or self._reached)[0]


def _allows(reached: ReachedMember, kind: ListKind, name: str) -> bool:
    """Return whether the caller may use a tool, a prompt or a resource at an endpoint."""
    allows = reached.permit.allows
    if kind is ListKind.TOOLS:
        return allows(tool_ids.tool_id(reached.name, name))
    if kind is ListKind.PROMPTS:
        return allows(tool_ids.prompt_id(reached.name, name))
    try:
        resource_class = reached.endpoint.classes.class_of(name)
    except ValueError:
        return False
    return allows(tool_ids.resource_id(reached.name, resource_class))


def _fit(uri: str, templates: Collection[str]) -> int:
    """Return how much of a URI the best template says before its first expression; -1 for none."""
    literals = (template.partition("{")[0] for template in templates)
    return max((len(each) for each in literals if uri.startswith(each)), default=-1)


def _unknown(kind: ListKind, name: str) -> RefusedMessageError:
    return bad_params(f"Unknown {kind.member[:-1]}: {printable(name)}")


def _ambiguous(kind: ListKind, name: str, found: Sequence[ReachedMember]) -> RefusedMessageError:
    names = [group_names.with_prefix(each.name, name) for each in found]
    return bad_params(
        f"Several servers have a {kind.member[:-1]} {printable(name)}; use {' or '.join(names)}."
    )
