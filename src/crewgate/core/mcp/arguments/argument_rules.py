"""The rules on the arguments of one tool: comparisons of single arguments, and a JSON Schema.

A call is allowed if all of them hold. They are about calls only: a list of tools has no arguments,
so no rule takes a tool out of a list.
"""

from collections.abc import Iterable

from crewgate.core.json_schema.failure import Failure, UncheckableValueError
from crewgate.core.json_schema.json_values import decode
from crewgate.core.json_schema.schema_compiler import JSONSchema
from crewgate.core.json_schema.work_budget import WorkBudget
from crewgate.core.mcp.arguments.argument_comparison import ArgumentComparison, CompiledComparison


class ArgumentRules:
    """The rules of one tool; it is false if there are none."""

    __slots__ = ("_comparisons", "_schema")

    def __init__(
        self, comparisons: Iterable[ArgumentComparison] = (), schema: JSONSchema | None = None
    ) -> None:
        """Compile the comparisons; raise ValueError if a text with "*" is too complex."""
        self._comparisons = [CompiledComparison(each) for each in comparisons]
        self._schema = schema

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._comparisons) or self._schema is not None

    def check(self, arguments: bytes | None) -> str | None:
        """Return why a call with these arguments is refused; None if it is allowed.

        `arguments` is a JSON text without duplicate members; None for a call without arguments. The
        reason is one or two sentences for a model. It may quote a short, escaped piece of an
        argument, so it belongs into the response, and into no log. It takes a bounded number of
        steps (`limits.argument_steps_max`).
        """
        work = WorkBudget()
        try:
            document = {} if arguments is None else decode(arguments)
            if not isinstance(document, dict):
                return "The arguments must be an object."
            failure = self._failure(document, work)
        except UncheckableValueError as error:
            return f"The arguments cannot be {error}."
        except ValueError as error:
            return f"The arguments cannot be checked: {error}."
        return None if failure is None else failure.sentence

    def _failure(self, document: dict[str, object], work: WorkBudget) -> Failure | None:
        for comparison in self._comparisons:
            failure = comparison.failure(document, work)
            if failure is not None:
                return failure
        return None if self._schema is None else self._schema.failure(document, work)
