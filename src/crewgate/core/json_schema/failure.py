"""Why a value is refused, in words that a language model can act on."""

from collections.abc import Sequence
from typing import NamedTuple

from crewgate.core.json_schema.json_values import JSONValue, shown, shown_text
from crewgate.errors import CrewgateError

_STEPS_SHOWN_MAX = 6  # of a path; of a longer one, the last
_FORMS_SHOWN_MAX = 4  # of the forms that a value may have


class UncheckableValueError(CrewgateError):
    """No check of the value has a sure result. The text completes "The arguments cannot be …"."""


class Failure(NamedTuple):
    """A reason to refuse: a `predicate` such as "is missing", and the path to the value.

    `expected` says what the value must be, such as "a number"; it may be empty.
    """

    predicate: str
    path: tuple[str, ...] = ()
    expected: str = ""

    def below(self, step: str) -> "Failure":
        """Return the failure as the object or array sees it that has the value at `step`."""
        return self._replace(path=(step, *self.path))

    @property
    def sentence(self) -> str:
        """The whole sentence, about one argument or about the object with all of them."""
        expected = f"; it must be {self.expected}" if self.expected else ""
        if not self.path:
            return f"The object with all arguments {self.predicate}{expected}."
        steps = [shown_text(step) for step in self.path[-_STEPS_SHOWN_MAX:]]
        if len(steps) < len(self.path):
            steps.insert(0, "…")
        return f'The argument "{"/".join(steps)}" {self.predicate}{expected}.'


def must_be(value: JSONValue, expected: str) -> Failure:
    """Return the failure of a value that is not what is `expected`."""
    return Failure(f"is {shown(value)}", expected=expected)


def all_failed(failures: Sequence[Failure]) -> Failure:
    """Return the failure of a value that must have one of several forms and has no such form."""
    expected = dict.fromkeys(each.expected for each in failures if not each.path)
    if len(failures) > _FORMS_SHOWN_MAX or "" in expected or any(each.path for each in failures):
        return failures[0]
    return failures[0]._replace(expected=" or ".join(expected))


MISSING = Failure("is missing")
NOT_ALLOWED = Failure("is not allowed; leave it out")
