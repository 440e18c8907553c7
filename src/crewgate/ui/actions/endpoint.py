"""`POST /api/action`: does what a person orders, and returns the receipt."""

from functools import partial
from typing import Any, Final

import msgspec
import trio

from crewgate import limits
from crewgate.api import access
from crewgate.config import Config
from crewgate.core.ids import EntityKind
from crewgate.ipc import receipt_text
from crewgate.ipc.admin_client import AdminClient
from crewgate.ui.actions import orchestrator_certificates
from crewgate.ui.actions.action_request import ActionRequest
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person

_REASON: Final = "ended on the live page"
_SOCKET_FIELDS: Final = ("type", "id")


async def take_action(state: PageState, person: Person, request: PageRequest) -> dict[str, object]:
    """Return the receipt: `lines` for a person, and the `receipt` of the agent.

    Raises ControlError 400, 403, 404 or 429, and ServiceRefusedError or ServiceConnectionError.
    """
    asked = request.decode(ActionRequest)
    asked.demand_right(person)
    # The agent would name all crews in its refusal.
    if asked.crew and asked.crew not in _crews(state.config):
        access.missing("crew")
    state.action_limit.take(person.name)
    do = partial(_do, state, person, asked)
    return await state.completed_actions.once(person.name, asked, do)


def _crews(config: Config) -> set[str]:
    """Return the names of crews, and of their accounts at other crews."""
    return {crew.name for crew in config.crews} | {each.account for each in config.crossings}


async def _do(state: PageState, person: Person, asked: ActionRequest) -> dict[str, object]:
    if asked.action == "revoke-orchestrator":
        async with state.certificate_processes:
            found = await orchestrator_certificates.revoke(state.config, asked, person.by)
    else:
        work = {"end": _end, "forgive": _forgive}.get(asked.action, _quarantine)
        found = await trio.to_thread.run_sync(
            partial(work, state, asked, person.by), limiter=state.action_threads
        )
    lines, receipt = found
    state.on_action(f"{person.by}: {'; '.join(lines)}")
    state.live.hurry()
    return {"lines": lines, "receipt": receipt}


Found = tuple[list[str], dict[str, Any]]


def _end(state: PageState, asked: ActionRequest, by: str) -> Found:
    target = asked.target()
    reason = asked.reason or _REASON
    with AdminClient(state.folder) as agent:
        receipt = agent.revoke([target], asked.until, by, reason)
    return receipt_text.of_revocation(receipt), _document(receipt)


def _quarantine(state: PageState, asked: ActionRequest, by: str) -> Found:
    orchestrator, is_lift = asked.only("orchestrator"), asked.action == "lift"
    low, high = limits.quarantine_seconds_min, limits.quarantine_seconds_max
    if asked.seconds and not low <= asked.seconds <= high:
        access.malformed(f"seconds: expected {low} to {high}, or 0 for the crew's usual time")
    with AdminClient(state.folder) as agent:
        done = agent.quarantine(
            asked.owner, orchestrator, lift=is_lift, seconds=asked.seconds, by=by
        )
    return receipt_text.of_quarantine(orchestrator, done, lift=is_lift), _document(done)


def _forgive(state: PageState, asked: ActionRequest, by: str) -> Found:
    branch = asked.only("branch")
    with AdminClient(state.folder) as agent:
        done = agent.forgive(branch, asked.crew, by=by)
    return receipt_text.of_forgiving(done), _document(done)


def _document(receipt: msgspec.Struct) -> dict[str, Any]:
    """Return a receipt for JSON, without the socket's own fields; kinds of targets are words."""
    found: dict[str, Any] = msgspec.to_builtins(receipt)
    for target in found.get("targets", []):
        target["kind"] = EntityKind(target["kind"]).label
    return {name: value for name, value in found.items() if name not in _SOCKET_FIELDS}


ACTION: Final = PageEndpoint("POST", "/api/action", take_action)
