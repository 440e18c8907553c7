"""The commands that another machine runs, each as a function that calls its control API.

Each function is the twin of a local command (`with_remote`). It takes the same options and prints
the same. With --json it prints the same members, but for those that only the other machine can use.
"""

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click
import msgspec

from crewgate import limits
from crewgate.api import schemas
from crewgate.api.tokens import CHILD, ID_TYPE, NEXT, RUN, TOKEN_TYPE
from crewgate.cli.branch_choice import the_only
from crewgate.cli.commands.revoke import is_reference, target_of
from crewgate.cli.options import print_problems, print_result
from crewgate.cli.output import health, machine_status, not_asked, revocation, revocation_list
from crewgate.cli.output import tree as tree_output
from crewgate.cli.remote.branches import branch_tree
from crewgate.cli.remote.ca import issue as ca_issue
from crewgate.cli.remote.ca import revoke as ca_revoke
from crewgate.cli.remote.client import ControlClient
from crewgate.cli.remote.revocation_receipt import revoke_target
from crewgate.cli.tokens import MintOptions, RefreshOptions, read_token, show_token
from crewgate.core.credits import format_credits
from crewgate.core.x509.identity_extension import Role
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.admin_messages import Until
from crewgate.ipc.cluster_tree import ClusterTreeRow
from crewgate.ipc.cluster_view import ClusterRevocations
from crewgate.ipc.machine_messages import THIS_MACHINE, AuditMode
from crewgate.issuer.bindings import binding_fields
from crewgate.issuer.inspection import read_claims

if TYPE_CHECKING:
    from crewgate.audit.cluster_report import ClusterAuditReport
    from crewgate.audit.filters import AuditFilter, GroupBy

__all__ = [
    "audit", "ca_issue", "ca_revoke", "find_branches", "mint", "refresh", "revocations", "revoke",
    "status", "top", "tree",
]  # fmt: skip
_POLL_SECONDS = 0.25
# Times of the other machine's own clock.
_OF_ITS_MACHINE = ("read_ns", "last_cut_ns")


def revoke(
    client: ControlClient,
    *,
    crew: str,
    reason: str,
    until: Until,
    as_json: bool,
    **named: str | None,
) -> None:
    """Run `crewgate revoke` through the control API."""
    target = target_of(named, crew)
    if is_reference(target):
        found = branch_tree(client, "/v1/branches", find=target.name, crew=crew)
        for line in not_asked.lines(found.not_asked):
            print_problems(line)
        row = the_only(target.name, found.rows, found.not_asked)
        target = msgspec.structs.replace(target, name=row.branch, crew=row.crew)
    receipt = revoke_target(client, target, until, reason)
    revocation.show(receipt, as_json=as_json, without=_OF_ITS_MACHINE)


def tree(client: ControlClient, *, machine: str, as_json: bool) -> None:
    """Run `crewgate tree` through the control API."""
    tree_output.show(branch_tree(client, "/v1/tree", machine=machine), as_json=as_json)


def top(client: ControlClient, *, machine: str, **given: Any) -> None:  # noqa: ANN401
    """Run `crewgate top` through the control API."""
    from crewgate.cli.commands.top import show
    from crewgate.cli.remote.live_source import ControlSource

    show(ControlSource(client, machine), **given)


def find_branches(client: ControlClient, reference: str, crew: str) -> list[ClusterTreeRow]:
    """Return the branches that a reference may mean, as far as they fit a page."""
    return branch_tree(client, "/v1/branches", find=reference, crew=crew).rows


def audit(
    client: ControlClient,
    machine: str,
    mode: AuditMode,
    question: "AuditFilter",
    by: "GroupBy | None",
) -> "ClusterAuditReport":
    """Return what `crewgate audit` prints, through the control API."""
    from crewgate.audit.cluster_report import ClusterAuditReport

    query = {"list": mode, "machine": machine, "by": by.value if by else ""}
    for name, value in msgspec.to_builtins(question).items():
        if value is not None and value is not False:
            query[name] = "true" if value is True else str(value)
    query["limit"] = str(min(max(1, question.limit), limits.page_rows_max))
    given = urlencode({name: text for name, text in query.items() if text})
    found = client.get(f"/v1/audit?{given}", ClusterAuditReport)
    if question.limit:
        return found
    lists: tuple[AuditMode, ...] = ("calls", "connections", "watch", "rules", "revocations")
    none: dict[str, Any] = {name: [] for name in lists}
    report = msgspec.structs.replace(found.report, **none)
    return msgspec.structs.replace(found, report=report)


def revocations(
    client: ControlClient, *, crew: str, limit: int, machine: str, as_json: bool
) -> None:
    """Run `crewgate revocations` through the control API."""
    given = {"crew": crew, "limit": str(max(1, limit)), "machine": machine}
    query = urlencode({name: text for name, text in given.items() if text})
    found = client.get(f"/v1/revocations?{query}", schemas.RevocationsResponse)
    answers = found.total, found.machines, found.asked, found.not_asked
    rows = found.revocations if limit else []
    revocation_list.show(ClusterRevocations(rows, *answers), crew, as_json=as_json)


def status(client: ControlClient, *, wait_seconds: float, machine: str, as_json: bool) -> None:
    """Run `crewgate status` through the control API, even before the API can be reached."""
    if machine not in {"", THIS_MACHINE}:
        machine_status.show(_machines(client, machine), as_json=as_json)
    deadline = time.monotonic() + wait_seconds
    while True:
        found = _health(client)
        left = deadline - time.monotonic()
        is_settled = found.status != "waiting" and not any(each.passing for each in found.troubles)
        if is_settled or left <= 0:
            break
        time.sleep(min(left, _POLL_SECONDS))
    document = _document(found)
    state, troubles = document["state"], document["health"]
    lines = [health.headline(state, troubles), *health.lines(troubles, time.time())]
    if not troubles and found.waiting_for:
        lines = [f"not ready: {'; '.join(found.waiting_for)}"]
    is_whole = _may_see_machines(client) and not (machine or wait_seconds or state == "failed")
    others = _machines(client) if is_whole else machine_status.MachineDocuments([], [])
    has_others = bool(others.machines or others.not_asked)
    document |= others.for_json if has_others else {}
    lines += machine_status.lines(others)
    print_result(document, "\n".join(lines), as_json=as_json)
    status = max(health.EXIT_STATUS[state], min(1, others.exit_status))
    click.get_current_context().exit(status)


def _may_see_machines(client: ControlClient) -> bool:
    return client.credentials.identity().role is Role.OPERATOR


def _document(found: schemas.HealthResponse) -> dict[str, Any]:
    state = "failed" if found.status == "waiting" else found.status
    return {
        "ready": state != "failed",
        "state": state,
        "waiting_for": found.waiting_for,
        "health": [msgspec.to_builtins(each) for each in found.troubles],
    }


def _machines(client: ControlClient, machine: str = "") -> machine_status.MachineDocuments:
    """Return the health of one machine, or of all but the one that is asked."""
    path = f"/v1/machines?{urlencode({'machine': machine})}" if machine else "/v1/machines"
    found = client.get(path, schemas.MachinesResponse)
    machines = [
        {"machine": each.machine} | _document(each)
        for each in found.machines
        if machine or each.machine != found.asked
    ]
    return machine_status.MachineDocuments(machines, found.not_asked)


def _health(client: ControlClient) -> schemas.HealthResponse:
    try:
        return client.get("/readyz", schemas.HealthResponse, unready=503)
    except ServiceConnectionError as error:
        return schemas.HealthResponse(status="waiting", waiting_for=[f"the control API ({error})"])


def mint(client: ControlClient, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Run `crewgate mint` through the control API."""
    options = MintOptions(**given)
    options.check_subject()
    _reject_ttl(options.ttl)
    form = {
        "scope": " ".join(options.tool_names),
        "credits": format_credits(options.quota),
        "role": options.role,
        **({"process": options.process} if options.process else {}),
        **({"reason": options.reason} if options.reason else {}),
        **binding_fields(options.binding()),
        **_orchestrator_field(client, options.crew, options.name),
    }
    person = options.read_subject_token()
    if options.subject is not None:
        form["subject"] = options.subject
    if person is not None:
        shown = {"subject_token_type": ID_TYPE, "subject_token": person}
        form |= {"grant_type": CHILD, **shown}
    elif options.parent is None:
        form["grant_type"] = RUN
    else:
        form |= {"grant_type": CHILD, "subject_token_type": TOKEN_TYPE}
        form["subject_token"] = read_token(options.parent)
    _show(client, form, as_json=as_json)


def refresh(client: ControlClient, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Run `crewgate refresh` through the control API."""
    options = RefreshOptions(**given)
    _reject_ttl(options.ttl)
    text = read_token(options.token)
    crew, _, name = read_claims(text).client_id.partition("/")
    changes = {
        "credits": None if options.quota is None else format_credits(options.quota),
        "scope": " ".join(options.tool_names or ()),
        "seconds": str(options.time) if options.time else None,
        "reason": options.reason,
    }
    form = {
        "grant_type": NEXT,
        "refresh_token": text,
        **{field: value for field, value in changes.items() if value},
        **binding_fields(options.binding()),
        **_orchestrator_field(client, crew, name),
    }
    _show(client, form, as_json=as_json)


def _show(client: ControlClient, form: dict[str, str], *, as_json: bool) -> None:
    answer = client.submit("/v1/tokens", form, schemas.TokenResponse)
    show_token(answer.access_token, read_claims(answer.access_token), as_json=as_json)


def _orchestrator_field(client: ControlClient, crew: str, name: str | None) -> dict[str, str]:
    """Return the form field that names the orchestrator; an orchestrator itself needs none."""
    own = client.credentials.identity()
    if own.role is Role.ORCHESTRATOR and own.crew == crew and name in {None, own.name}:
        return {}
    return {"orchestrator": f"{crew}/{name or f'{crew}-1'}"}


def _reject_ttl(ttl: int | None) -> None:
    if ttl is not None:
        raise click.UsageError(
            "--ttl is not for --control: each token gets the crew's maximum lifetime"
        )
