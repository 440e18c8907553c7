"""Remembers what actions with an id have come to, so that an action is done once.

A browser that has lost its connection sends the action again, and gets the receipt of the first
time.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from crewgate import limits
from crewgate.core.problem_types import INVALID_REQUEST
from crewgate.errors import CrewgateError
from crewgate.ui.actions.action_request import ActionRequest


class _Action:
    def __init__(self, asked: ActionRequest) -> None:
        self.asked = asked
        self.is_over = trio.Event()
        self.result: dict[str, object] | CrewgateError | None = None


class CompletedActions:
    """The newest actions, by person and id; `limits.ui_actions_max` of them at most."""

    def __init__(self) -> None:
        self._actions: OrderedDict[tuple[str, str], _Action] = OrderedDict()

    async def once(
        self, person: str, asked: ActionRequest, do: Callable[[], Awaitable[dict[str, object]]]
    ) -> dict[str, object]:
        """Return the result of an action, which `do` does unless it was done before.

        Raises what `do` has raised, and ControlError 400 for another action with the same id.
        """
        if not asked.id:
            return await do()
        key = person, asked.id
        action = self._actions.get(key)
        if action is None:
            action = self._actions[key] = _Action(asked)
            self._forget()
            await self._do(key, action, do)
        elif action.asked != asked:
            raise INVALID_REQUEST.error("id: another action had this id; choose a new one")
        await action.is_over.wait()
        if isinstance(action.result, CrewgateError):
            raise action.result
        if action.result is None:
            # The first attempt was cut short, and nobody knows how far it came.
            return await do()
        return action.result

    async def _do(
        self, key: tuple[str, str], action: _Action, do: Callable[[], Awaitable[dict[str, object]]]
    ) -> None:
        try:
            # The browser may go meanwhile; the action goes on, and its result is kept.
            with trio.CancelScope(shield=True):
                action.result = await do()
        except CrewgateError as error:
            # It was not done: the browser may try it again.
            action.result = error
            self._actions.pop(key, None)
        finally:
            action.is_over.set()

    def _forget(self) -> None:
        over = [key for key, action in self._actions.items() if action.is_over.is_set()]
        for key in over[: max(0, len(self._actions) - limits.ui_actions_max)]:
            del self._actions[key]
