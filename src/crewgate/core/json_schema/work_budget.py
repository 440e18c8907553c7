"""The budget of one check, in steps and in nesting."""

from crewgate import limits
from crewgate.core.json_schema.failure import UncheckableValueError


class WorkBudget:
    """Counts the steps of one check. It raises UncheckableValueError if they are too many."""

    __slots__ = ("_depth", "_left")

    def __init__(self, steps: int = limits.argument_steps_max) -> None:
        self._left = steps
        self._depth = 0

    def spend(self, steps: int) -> None:
        """Count steps."""
        self._left -= steps
        if self._left < 0:
            raise UncheckableValueError("checked, because they are too large; send less at once")

    def enter(self) -> None:
        """Count one step, and one more level of nesting."""
        self.spend(1)
        self._depth += 1
        if self._depth > limits.argument_schema_nesting_max:
            raise UncheckableValueError(
                "checked, because they are nested too deeply; send a flatter value"
            )

    def leave(self) -> None:
        """Count one level of nesting less."""
        self._depth -= 1
