"""Finds the one branch that a person means by the beginning of its id, or by `CREW/ROLE`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from crewgate import limits
from crewgate.cli.options import print_problems, state_of
from crewgate.cli.output import not_asked
from crewgate.core import branch_reference
from crewgate.core.branch_reference import is_name
from crewgate.core.terminal_text import printable
from crewgate.errors import ServiceConnectionError, ServiceRefusedError
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterTree, SilentMachine

_SURE_CHARS = 8  # of the beginning of an id, which no second branch of a machine shares by chance


def ask(admin: AdminClient, reference: str, crew: str) -> ClusterTree:
    """Ask all machines which branches a reference may mean.

    Name on standard error the machines that did not answer.
    """
    found = admin.cluster_tree(reference, crew)
    for line in not_asked.lines(found.not_asked):
        print_problems(line)
    return found


def find(admin: AdminClient, reference: str, crew: str) -> list[ClusterTreeRow]:
    """Return the branches that `ask` finds."""
    return ask(admin, reference, crew).rows


def find_if_running(config_path: Path, reference: str, crew: str) -> list[ClusterTreeRow]:
    """Return the same for a command that needs no gateway; click.UsageError if none runs."""
    try:
        with AdminClient(state_of(config_path)) as admin:
            return find(admin, reference, crew)
    except ServiceConnectionError as error:
        raise click.UsageError(
            f"write the whole id of the branch: to find it, the gateway must run ({error})"
        ) from error


def whole_id(
    reference: str, crew: str, find_branches: Callable[[str, str], Sequence[ClusterTreeRow]]
) -> str:
    """Return the id of the branch that a reference means; `find_branches` is as `find`.

    Raises ValueError if the text can stand for no branch, and ServiceRefusedError as `the_only`.
    """
    if branch_reference.is_whole_id(reference):
        return reference
    try:
        branch_reference.check(reference)
    except ValueError as error:
        raise ValueError(f"not a branch id: {error}") from error
    return the_only(reference, find_branches(reference, crew)).branch


def the_only(
    reference: str, found: Sequence[ClusterTreeRow], unasked: Sequence[SilentMachine] = ()
) -> ClusterTreeRow:
    """Return the only branch that was found for a reference.

    Raises ServiceRefusedError if there is none or several; the text lists them. A machine of
    `unasked` may know another one, so then a name or a few characters are refused too.
    """
    if not found:
        what = "live branch" if is_name(reference) else "branch whose id begins with"
        raise ServiceRefusedError(
            f"no machine that answered knows a {what} {reference}; `crewgate tree` shows the "
            "branches"
        )
    if len(found) > 1:
        listed = [_candidate(row) for row in found[: limits.branch_candidates_max]]
        more = len(found) - len(listed)
        if more:
            listed.append(f"  and {more} more")
        ask = "write the id, or its beginning" if is_name(reference) else "write more of the id"
        raise ServiceRefusedError(
            "\n".join([f"{reference} may be one of {len(found)} branches; {ask}:", *listed])
        )
    if unasked and (is_name(reference) or len(reference) < _SURE_CHARS):
        names = ", ".join(each.machine for each in unasked)
        why = f"{reference} may be one of several branches, because {names} did not answer"
        raise ServiceRefusedError(f"{why}; write the id:\n{_candidate(found[0])}")
    return found[0]


def _candidate(row: ClusterTreeRow) -> str:
    role = row.role or ("ancestor" if row.parent else "run")
    where = ", ".join(each.machine for each in row.machines)
    return f"  {row.branch}  {printable(f'{row.crew}/{role}  {row.state}  on {where}')}"
