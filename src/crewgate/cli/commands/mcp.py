"""`crewgate mcp`: shows the pinned tools of MCP servers, and approves what the servers changed."""

from pathlib import Path

import click

from crewgate.cli.options import (
    ConfigNameParamType,
    UntruncatedHelpGroup,
    config_option,
    json_option,
    print_result,
    state_of,
)
from crewgate.cli.output.tool_pins import (
    as_document,
    definition_document,
    definition_lines,
    show_pins,
)
from crewgate.core.mcp.pins.endpoint_pins import PinState
from crewgate.core.mcp.pins.tool_definitions import INSTRUCTIONS
from crewgate.ipc.admin_client import AdminClient
from crewgate.ipc.pin_messages import PinsUpdated

_ENDPOINT = ConfigNameParamType("mcp")


@click.group("mcp", cls=UntruncatedHelpGroup)
def command() -> None:
    """Show the tools of MCP servers, and approve tools that a server has changed.

    Each machine of a cluster has pins of its own. These commands act on this machine.
    """


@command.command("tools")
@config_option
@click.argument("endpoint", type=_ENDPOINT, metavar="[ENDPOINT]", required=False, default="")
@json_option
def tools(*, config_path: Path, endpoint: str, as_json: bool) -> None:
    """List the tools that the servers of all endpoints, or of one, have shown to this machine.

    A tool is pinned if this machine trusts its present definition. A tool that the server added
    after the first use is new until you approve it. If the server has shown another definition than
    the pinned one, the tool is changed until you approve it. The list has only tools that the
    server has shown to a client.
    """
    with AdminClient(state_of(config_path)) as admin:
        rows = admin.pins(endpoint)
    show_pins(rows, as_json=as_json)


@command.command("diff")
@config_option
@click.argument("endpoint", type=_ENDPOINT, metavar="ENDPOINT")
@click.argument("tool", metavar="[TOOL]", required=False)
@click.option("--instructions", is_flag=True, help="Show the instructions of the server only.")
@json_option
def diff(
    *, config_path: Path, endpoint: str, tool: str | None, instructions: bool, as_json: bool
) -> None:
    """Show what a server has changed in its tools, and in its instructions for the model.

    The command shows all changes that wait for an approval, or those of one TOOL. A line with `-`
    is gone, a line with `+` is new, and a line with `…` has the words before a change.
    """
    if instructions and tool is not None:
        raise click.UsageError("--instructions does not go with TOOL")
    with AdminClient(state_of(config_path)) as admin:
        name = INSTRUCTIONS if instructions else tool
        names = [name] if name is not None else [
            row.name for row in admin.pins(endpoint) if row.state is not PinState.PINNED
        ]  # fmt: skip
        found = [admin.definitions(endpoint, each) for each in names]
    text = (
        "\n\n".join("\n".join(definition_lines(each, config_path)) for each in found)
        or f"{endpoint}: no change waits for an approval"
    )
    document = {"definitions": [definition_document(each) for each in found]}
    print_result(document, text, as_json=as_json)


@command.command("approve")
@config_option
@click.argument("endpoint", type=_ENDPOINT, metavar="ENDPOINT")
@click.argument("tools", metavar="[TOOL]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Approve all tools and the instructions.")
@click.option("--instructions", is_flag=True, help="Approve the instructions of the server.")
@click.option(
    "--digest",
    metavar="HEX",
    default="",
    help="Approve the one TOOL only if its newest digest, which `crewgate mcp diff` shows, begins "
    "with HEX.",
)
@json_option
def approve(
    *,
    config_path: Path,
    endpoint: str,
    tools: tuple[str, ...],
    every: bool,
    instructions: bool,
    digest: str,
    as_json: bool,
) -> None:
    """Trust the newest definitions of tools that a server has added or changed.

    Read `crewgate mcp diff` first. The server may change a tool again in between, so approve with
    --digest. With `pins = "block"`, the gateway permits calls of the tools from then on. The
    command returns when the disk has the change.
    """
    names = _named(tools, every=every, instructions=instructions)
    with AdminClient(state_of(config_path)) as admin:
        done = admin.approve_pins(endpoint, names, every=every, digest=digest.lower())
    _print_update(endpoint, "approved", "definition", done, as_json=as_json)


@command.command("forget")
@config_option
@click.argument("endpoint", type=_ENDPOINT, metavar="ENDPOINT")
@click.argument("tools", metavar="[TOOL]...", nargs=-1)
@click.option("--gone", is_flag=True, help="Remove all tools that the server no longer lists.")
@click.option("--instructions", is_flag=True, help="Remove the instructions of the server.")
@json_option
def forget(
    *,
    config_path: Path,
    endpoint: str,
    tools: tuple[str, ...],
    gone: bool,
    instructions: bool,
    as_json: bool,
) -> None:
    """Remove pins, for tools that a server no longer has.

    If the server lists such a tool later, the tool is new.
    """
    names = _named(tools, every=gone, instructions=instructions)
    with AdminClient(state_of(config_path)) as admin:
        done = admin.forget_pins(endpoint, names, every_gone=gone)
    _print_update(endpoint, "removed", "pin", done, as_json=as_json)


def _named(tools: tuple[str, ...], *, every: bool, instructions: bool) -> list[str]:
    """Return the names in a request; raise UsageError unless a person said which they are."""
    names = [*tools, *([INSTRUCTIONS] if instructions else [])]
    if every == bool(names):
        raise click.UsageError("name tools, or give one of the options that stand for several")
    return names


def _print_update(endpoint: str, verb: str, noun: str, done: PinsUpdated, *, as_json: bool) -> None:
    lines = [f"{endpoint}: {verb} {done.changed} {noun}{'' if done.changed == 1 else 's'}"]
    if done.machines > 1:
        lines.append(
            f"each of the {done.machines} machines has pins of its own: run this command on each"
        )
    print_result(as_document(done), "\n".join(lines), as_json=as_json)
