"""`crewgate demo`: plays an incident of an agent crew on real gateways in a temporary folder."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate.cli.options import json_option
from crewgate.errors import CrewgateError, DemoError

if TYPE_CHECKING:
    from crewgate.demo.display import Display
    from crewgate.demo.story_figures import DemoResult


@click.command("demo")
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Play an incident of an agent crew on real gateways.

    The demo starts real processes on free loopback ports, in a temporary folder, and takes about
    half a minute. Exit status 0: every promise held. Exit status 1: one did not.
    """
    import msgspec
    from rich.console import Console

    from crewgate.demo.display import Display, show

    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    with Display(console) as display:
        result = _replay(display)
    show(result, console)
    if as_json:
        click.echo(msgspec.json.encode(result))
    ctx.exit(0 if result.held else 1)


def _replay(display: "Display") -> "DemoResult":
    import trio

    with tempfile.TemporaryDirectory(prefix="crewgate-demo-") as folder:
        try:
            return trio.run(_play, Path(folder), display)
        except BaseExceptionGroup as group:
            # A nursery wraps each exception in a group. Unwrap Ctrl-C, and a CrewgateError whose
            # group holds nothing else.
            if group.subgroup(KeyboardInterrupt) is not None:
                raise KeyboardInterrupt from None
            ours = group.subgroup(CrewgateError)
            if ours is None or group.split(CrewgateError)[1] is not None:
                raise
            raise _first(ours) from group


async def _play(folder: Path, display: "Display") -> "DemoResult":
    import trio
    from msgspec.structs import replace

    from crewgate.demo.cluster_act import read_audits, revoke_everywhere
    from crewgate.demo.cross_crew_act import call_across_crews
    from crewgate.demo.gateway_process import running
    from crewgate.demo.gateway_setup import build, join
    from crewgate.demo.restart import restart
    from crewgate.demo.story import COLLECTOR, play
    from crewgate.demo.story_figures import judge

    joined = trio.Event()

    async def start_further() -> None:
        await join(gateway)
        joined.set()

    def meanwhile() -> None:
        display.print_line("two more gateways start in the background, for the third act")
        nursery.start_soon(start_further)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle_signals)
        stage = await build(folder)
        display.print_line("a gateway starts (an agent process and two workers), and a tool server")
        async with running(stage) as gateway:
            start = trio.current_time()
            display.print_line(f"the gateway is ready at {stage.url}; six sub-agents start")
            seen = await play(stage, display.on_event, display.print_line, meanwhile)
            await joined.wait()
            display.print_line("the gateway is restarted; budgets continue where they were")
            restarted = await restart(stage, gateway, seen.keys[COLLECTOR.role])
            display.print_line("second act: crew BD calls tools of crew Finance")
            crossed = await call_across_crews(stage, display.on_event, display.print_line)
            display.print_line("third act: a revocation at one of three gateways")
            ended = await revoke_everywhere(stage, display.on_event, display.print_line)
            received = await stage.received()
        display.print_line("the gateways have stopped; the demo reads their audits")
        calls, further = await read_audits(stage)
        seconds = trio.current_time() - start
        seen = replace(seen, received=received, calls=calls, seconds=seconds)
        ended = replace(ended, calls=further)
        nursery.cancel_scope.cancel()
    return judge(seen, crossed, restarted, ended)


async def handle_signals() -> None:
    """Turn a signal into an exception that ends the processes first, and then removes the folder.

    Without this, Python raises KeyboardInterrupt wherever it is. Where Python ignores exceptions,
    as in a destructor, the story would continue.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        DemoError: SIGTERM came before the story had ended.
    """
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise DemoError("SIGTERM ended the demo before its story had ended")


def _first(group: BaseExceptionGroup[CrewgateError]) -> CrewgateError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, CrewgateError):
        raise TypeError(f"a group of CrewgateError holds {type(error).__name__}") from error
    return error
