"""Serves the admin socket's requests about pinned MCP tools."""

import trio

from crewgate import limits
from crewgate.agent.ipc_server.message_stream import MessageStream, pages
from crewgate.agent.state import AgentState
from crewgate.agent.tool_pins.tool_pins import ToolPins
from crewgate.core.mcp.pins.endpoint_pins import Pin
from crewgate.errors import ServiceRefusedError
from crewgate.ipc import pin_messages as messages
from crewgate.ipc.admin_messages import AdminRequest


async def answer(
    agent: AgentState, connection: MessageStream[AdminRequest], request: messages.PinRequest
) -> None:
    """Answer one request. Raises ServiceRefusedError."""
    pins = agent.tool_pins
    if isinstance(request, messages.GetPins):
        for rows, last in pages(_rows(pins, request.endpoint)):
            await connection.send(messages.PinsPage(request.id, rows, last))
        return
    if isinstance(request, messages.GetDefinitions):
        pin = pins.pin(request.endpoint, request.name)
        await connection.send(_definitions(request, pin))
        return
    if isinstance(request, messages.ApprovePins):
        if request.digest and len(request.names) != 1:
            raise ServiceRefusedError("a digest is for one tool; name one")
        names = [pin.name for pin in pins.of(request.endpoint)] if request.every else request.names
        changed = pins.approve(request.endpoint, names, request.digest)
    else:
        gone = [pin.name for pin in pins.of(request.endpoint) if pin.gone]
        changed = pins.forget(request.endpoint, gone if request.every_gone else request.names)
    await _wait_until_saved(pins)
    others = agent.fanout.others
    machines = 1 if others is None else others.in_touch().members
    await connection.send(messages.PinsUpdated(request.id, changed, machines))


async def _wait_until_saved(pins: ToolPins) -> None:
    saved = trio.Event()
    pins.writer.when_saved(saved.set)
    with trio.move_on_after(limits.mcp_pins_saved_seconds_max):
        await saved.wait()
    if not saved.is_set():
        why = pins.writer.error or "the disk is busy"
        raise ServiceRefusedError(
            f"this holds now, but it is lost if the agent restarts: {why}; run the command again "
            "when the disk has room"
        )


def _rows(pins: ToolPins, endpoint: str) -> list[messages.PinRow]:
    if endpoint:
        endpoints = [endpoint]
    else:
        endpoints = [name for name in pins.endpoints() if name not in pins.unreadable]
    found = ((name, pin) for name in endpoints for pin in pins.of(name))
    rows = (_row(name, pin) for name, pin in found)
    return sorted(rows, key=lambda row: (row.endpoint, row.name))


def _row(endpoint: str, pin: Pin) -> messages.PinRow:
    return messages.PinRow(
        endpoint,
        pin.name,
        pin.state,
        pin.digest,
        pin.first_seen,
        newest=pin.newest,
        changed=pin.changed,
        approved=pin.approved,
        gone=pin.gone,
    )


def _definitions(request: messages.GetDefinitions, pin: Pin) -> messages.Definitions:
    pinned = bytes(pin.definition) or None
    is_other = pin.newest not in {"", pin.digest}
    newest = (bytes(pin.newest_definition) or None) if is_other else pinned
    if pin.is_new and not pin.changed:
        pinned = b""
    return messages.Definitions(request.id, _row(request.endpoint, pin), pinned, newest)
