"""Remembers what acts with an id have come to, so that an act is done once.

A browser that has lost its connection sends the act again, and gets the receipt of the first time.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from crewgate import limits
from crewgate.core.problem_types import INVALID_REQUEST
from crewgate.errors import CrewgateError
from crewgate.ui.acts.order import Order


class _Act:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.is_over = trio.Event()
        self.result: dict[str, object] | CrewgateError | None = None


class DoneActs:
    """The newest acts, by person and id; `limits.ui_acts_max` of them at most."""

    def __init__(self) -> None:
        self._acts: OrderedDict[tuple[str, str], _Act] = OrderedDict()

    async def once(
        self, person: str, order: Order, do: Callable[[], Awaitable[dict[str, object]]]
    ) -> dict[str, object]:
        """Return the result of an act, which `do` does unless it was done before.

        Raises what `do` has raised, and ControlError 400 for another act with the same id.
        """
        if not order.id:
            return await do()
        key = person, order.id
        act = self._acts.get(key)
        if act is None:
            act = self._acts[key] = _Act(order)
            self._forget()
            await self._do(key, act, do)
        elif act.order != order:
            raise INVALID_REQUEST.error("id: another act had this id; choose a new one")
        await act.is_over.wait()
        if isinstance(act.result, CrewgateError):
            raise act.result
        if act.result is None:  # the first attempt was cut short, and nobody knows how far it came
            return await do()
        return act.result

    async def _do(
        self, key: tuple[str, str], act: _Act, do: Callable[[], Awaitable[dict[str, object]]]
    ) -> None:
        try:
            # The browser may go meanwhile; the act goes on, and its result is kept.
            with trio.CancelScope(shield=True):
                act.result = await do()
        except CrewgateError as error:
            # It was not done: the browser may try it again.
            act.result = error
            self._acts.pop(key, None)
        finally:
            act.is_over.set()

    def _forget(self) -> None:
        over = [key for key, act in self._acts.items() if act.is_over.is_set()]
        for key in over[: max(0, len(self._acts) - limits.ui_acts_max)]:
            del self._acts[key]
