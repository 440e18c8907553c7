"""The health of pinned MCP tools, and their counts for `crewgate status` and for metrics."""

from collections.abc import Iterator

from crewgate import limits
from crewgate.agent.tool_pins.pin_audit import named
from crewgate.agent.tool_pins.tool_pins import ToolPins
from crewgate.core.health import ComponentHealth, degraded, failed, ok
from crewgate.core.mcp.pins.endpoint_pins import EndpointPins, PinState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.core.mcp.pins.worker_pins import PinPolicy
from crewgate.ipc.admin_messages import EndpointPinCounts


def facts(tool_pins: ToolPins) -> Iterator[ComponentHealth]:
    """Yield a fact about each endpoint with pinned tools, and about the disk."""
    for endpoint, policy in tool_pins.policies.items():
        component = f"MCP endpoint {endpoint}"
        why = tool_pins.unreadable.get(endpoint)
        if why is not None:
            mend = (
                "restore the file from a backup; or move it away, then this machine trusts the "
                "tools that the server lists next"
            )
            yield failed(component, why, mend, refuses=False)
        else:
            yield _fact(component, endpoint, policy, tool_pins.of(endpoint))
    if tool_pins.policies:
        error = tool_pins.writer.error
        yield (
            degraded("pins of MCP tools", error, logged=True) if error else ok("pins of MCP tools")
        )


def _fact(component: str, endpoint: str, policy: PinPolicy, pins: EndpointPins) -> ComponentHealth:
    changes = []
    changed = [pin.name for pin in pins if pin.changed]
    if changed:
        if policy.pins != "block":
            effect = "calls continue"
        elif changed == [INSTRUCTIONS]:
            effect = "the gateway hides them from clients"
        else:
            effect = "the gateway refuses calls of changed tools"
        changes.append(f"the server has changed {named(changed)}; {effect}")
    added = [pin.name for pin in pins if pin.is_new]
    if added and policy.unapproved_tools == "refuse":
        effect = "the gateway refuses calls of new tools"
        changes.append(f"the server has added {named(added)}; {effect}")
    if changes:
        mend = f"run `crewgate mcp diff {endpoint}`, which prints a command to approve each change"
        return degraded(component, "; ".join(changes), mend, logged=True)
    if pins.is_full:
        why = f"{limits.mcp_pinned_tools_max} tools are pinned; further ones cannot be pinned"
        return degraded(component, why, f"run `crewgate mcp forget {endpoint} --gone`")
    return ok(component)


def counts(tool_pins: ToolPins) -> list[EndpointPinCounts]:
    """Return how many tools of each endpoint are in which state."""
    rows = []
    for endpoint, policy in sorted(tool_pins.policies.items()):
        if endpoint in tool_pins.unreadable:
            continue
        states = [pin.state for pin in tool_pins.of(endpoint)]
        rows.append(
            EndpointPinCounts(
                endpoint,
                policy.pins,
                pinned=states.count(PinState.PINNED),
                new=states.count(PinState.NEW),
                changed=states.count(PinState.CHANGED),
            )
        )
    return rows
