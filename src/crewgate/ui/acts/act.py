"""`POST /api/act`: does what a person orders, and returns the receipt."""

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
from crewgate.ui.acts import orchestrator_certificates
from crewgate.ui.acts.order import Order
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person

_REASON: Final = "ended on the live page"
_SOCKET_FIELDS: Final = ("type", "id")


async def act(state: PageState, person: Person, request: PageRequest) -> dict[str, object]:
    """Return the receipt: `lines` for a person, and the `receipt` of the agent.

    Raises ControlError 400, 403, 404 or 429, and ServiceRefusedError or ServiceConnectionError.
    """
    order = request.decode(Order)
    order.demand_right(person)
    # The agent would name all crews in its refusal.
    if order.crew and order.crew not in _crews(state.config):
        access.missing("crew")
    state.act_limit.take(person.name)
    return await state.done_acts.once(person.name, order, partial(_do, state, person, order))


def _crews(config: Config) -> set[str]:
    """Return the names of crews, and of their accounts at other crews."""
    return {crew.name for crew in config.crews} | {each.account for each in config.crossings}


async def _do(state: PageState, person: Person, order: Order) -> dict[str, object]:
    if order.act == "revoke-orchestrator":
        async with state.certificate_processes:
            found = await orchestrator_certificates.revoke(state.config, order, person.by)
    else:
        work = {"end": _end, "forgive": _forgive}.get(order.act, _quarantine)
        found = await trio.to_thread.run_sync(
            partial(work, state, order, person.by), limiter=state.act_threads
        )
    lines, receipt = found
    state.on_action(f"{person.by}: {'; '.join(lines)}")
    state.live.hurry()
    return {"lines": lines, "receipt": receipt}


Found = tuple[list[str], dict[str, Any]]


def _end(state: PageState, order: Order, by: str) -> Found:
    target = order.target()
    reason = order.reason or _REASON
    with AdminClient(state.folder) as agent:
        receipt = agent.revoke([target], order.until, by, reason)
    return receipt_text.of_revocation(receipt), _document(receipt)


def _quarantine(state: PageState, order: Order, by: str) -> Found:
    orchestrator, is_lift = order.only("orchestrator"), order.act == "lift"
    low, high = limits.quarantine_seconds_min, limits.quarantine_seconds_max
    if order.seconds and not low <= order.seconds <= high:
        access.malformed(f"seconds: expected {low} to {high}, or 0 for the crew's usual time")
    with AdminClient(state.folder) as agent:
        done = agent.quarantine(
            order.owner, orchestrator, lift=is_lift, seconds=order.seconds, by=by
        )
    return receipt_text.of_quarantine(orchestrator, done, lift=is_lift), _document(done)


def _forgive(state: PageState, order: Order, by: str) -> Found:
    branch = order.only("branch")
    with AdminClient(state.folder) as agent:
        done = agent.forgive(branch, order.crew, by=by)
    return receipt_text.of_forgiving(done), _document(done)


def _document(receipt: msgspec.Struct) -> dict[str, Any]:
    """Return a receipt for JSON, without the socket's own fields; kinds of targets are words."""
    found: dict[str, Any] = msgspec.to_builtins(receipt)
    for target in found.get("targets", []):
        target["kind"] = EntityKind(target["kind"]).label
    return {name: value for name, value in found.items() if name not in _SOCKET_FIELDS}


ACT: Final = PageEndpoint("POST", "/api/act", act)
