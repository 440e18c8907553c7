"""The registry of problem types, as `crewgate.core.problem_types` has it."""

from collections.abc import Callable

from _generate.markdown import table
from crewgate.core.problem_types import (
    ALLOWANCE_EXHAUSTED,
    PROBLEMS,
    ProblemType,
    RefusingComponent,
)

_PAGE = """\
## Calls of tools

The gateway sends all of them, and `crewgate.asgi` those that are marked.

{calls}
## Requests that break HTTP

The HTTP server of the gateway and of the control API sends them. They have no request id and no
audit record.

{server}
## Control API

The `detail` says what is wrong with the one request. `/v1/tokens` and `/v1/introspect` answer with
the OAuth error instead (RFC 6749), if there is one; its member `type` is that of the problem.

{control}
## Live page

{page}"""
_OAUTH_BELOW = 500  # from this HTTP status on, the OAuth endpoints answer with a problem as well

Column = tuple[str, Callable[[ProblemType], str]]


def markdown() -> str:
    """Return a section for each sender, with a table of its problems."""
    grpc: Column = ("gRPC status", lambda problem: f"`{problem.grpc_code.name}`")
    model: Column = ("`error.type`", lambda problem: f"`{problem.model_error}`")
    return _PAGE.format(
        calls=_table(RefusingComponent.GATEWAY, ("`asgi`", _is_of_middleware), grpc, model),
        server=_table(RefusingComponent.SERVER, grpc),
        control=_table(RefusingComponent.CONTROL, ("OAuth error", _oauth_error)),
        page=_table(RefusingComponent.PAGE),
    )


def _table(sender: RefusingComponent, *others: Column) -> str:
    columns: tuple[Column, ...] = (
        ("HTTP", lambda problem: str(problem.status)),
        ("Problem", lambda problem: f"`{problem.slug}`"),
        ("What happened, and what to do", lambda problem: f"{problem.title}. {problem.detail}"),
        ("`Retry-After`", _retry_after),
        *others,
    )
    found = [problem for problem in PROBLEMS.values() if sender in problem.senders]
    rows = ([cell(each) for _, cell in columns] for each in sorted(found, key=lambda it: it.status))
    return table([name for name, _ in columns], rows)


def _retry_after(problem: ProblemType) -> str:
    if problem is ALLOWANCE_EXHAUSTED:
        return "the end of the window"
    return f"{problem.retry_seconds} s" if problem.retry_seconds else ""


def _is_of_middleware(problem: ProblemType) -> str:
    return "yes" if RefusingComponent.MIDDLEWARE in problem.senders else ""


def _oauth_error(problem: ProblemType) -> str:
    return f"`{problem.oauth_error}`" if problem.status < _OAUTH_BELOW else ""
