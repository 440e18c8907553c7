"""Writes equal JSON values as the same text: members in order, and numbers in one form.

Values are compared by these texts and not by Python's hash of a value: a client could choose
numbers that collide there, but Python hashes texts with a random key.
"""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from crewgate.core.json_schema.json_values import WORDS, JSONValue, Number, is_number
from crewgate.core.json_schema.work_budget import WorkBudget

# More digits than Python reads of an int, so that no number is rounded.
_EXACT = Context(prec=5000, Emax=MAX_EMAX, Emin=MIN_EMIN)
_STEP_CHARS = 64  # that are copied or compared in one step


def comparison_text(value: JSONValue, work: WorkBudget) -> str:
    """Return a text that two values share only if they are equal as JSON values.

    Raises UncheckableValueError if the value is too large.
    """
    work.enter()
    if isinstance(value, str):
        text = f"s{len(value)}:{value}"
    elif isinstance(value, list):
        text = f"[{''.join([comparison_text(item, work) for item in value])}]"
    elif isinstance(value, dict):
        work.spend(len(value))
        members = [
            f"{len(name)}:{name}{comparison_text(value[name], work)}" for name in sorted(value)
        ]
        text = f"{{{''.join(members)}}}"
    else:
        text = f"n{_normal(value)};" if is_number(value) else WORDS[value]
    work.spend(len(text) // _STEP_CHARS)
    work.leave()
    return text


def _normal(number: Number) -> str:
    if isinstance(number, int) and number % 10:
        return str(number)
    return str(Decimal(number).normalize(_EXACT)) if number else "0"
