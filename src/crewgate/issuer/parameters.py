"""What a caller passes, checked at the border: credits, tools and branches as people write them."""

from collections.abc import Sequence

from crewgate.core import ids
from crewgate.core.credits import parse_credits
from crewgate.errors import IssuerError


def amount(text: str) -> int:
    """Micro-credits of decimal text.

    Raises:
        IssuerError: It is anything else, a number for example.
    """
    if not isinstance(text, str):
        raise IssuerError(f'credits are decimal text such as "2.50", not {text!r}')
    try:
        return parse_credits(text)
    except ValueError as error:
        raise IssuerError(str(error)) from None


def tool_list(tools: Sequence[str]) -> list[str]:
    """The tools as a list.

    Raises:
        IssuerError: It is one text, which is a sequence of letters too.
    """
    if isinstance(tools, str):
        raise IssuerError(f"tools are a list: write [{tools[:64]!r}]")
    return list(tools)


def branch_id(text: str) -> str:
    """The UUID text of a branch.

    Raises:
        IssuerError: It is none.
    """
    try:
        ids.uuid_bytes(text)
    except (ValueError, AttributeError, TypeError):
        raise IssuerError(
            f"not a branch: {str(text)[:64]!r}; expected a lower-case hyphenated UUID"
        ) from None
    return text
