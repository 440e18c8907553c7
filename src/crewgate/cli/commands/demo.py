"""`crewgate demo`: the incident, replayed on a real gateway made for it."""

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
    from crewgate.demo.report import DemoResult


@click.command("demo")
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Replay the incident on a real gateway.

    Real processes on free loopback ports, in a temporary folder, for about half a minute. Exit
    status 0 if the story held, 1 if not.
    """
    from importlib.util import find_spec

    import msgspec
    from rich.console import Console

    if find_spec("h2") is None:
        raise DemoError("the demo's agents speak HTTP/2 by h2: pip install 'crewgate[demo]'")
    from crewgate.demo.display import Display, show

    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    with Display(console) as board:
        result = _replay(board)
    show(result, console)
    if as_json:
        click.echo(msgspec.json.encode(result))
    ctx.exit(0 if result.held else 1)


def _replay(board: "Display") -> "DemoResult":
    import trio

    with tempfile.TemporaryDirectory(prefix="crewgate-demo-") as folder:
        try:
            return trio.run(_play, Path(folder), board)
        except BaseExceptionGroup as group:
            # Nurseries wrap whatever ends them; Ctrl-C and errors of ours are told as such.
            if group.subgroup(KeyboardInterrupt) is not None:
                raise KeyboardInterrupt from None
            ours = group.subgroup(CrewgateError)
            if ours is None or group.split(CrewgateError)[1] is not None:
                raise
            raise _first(ours) from group


async def _play(folder: Path, board: "Display") -> "DemoResult":
    import trio
    from msgspec.structs import replace

    from crewgate.demo.cluster_act import ask_audits, end_everywhere
    from crewgate.demo.cross_crew_act import cross
    from crewgate.demo.gateways import build, join
    from crewgate.demo.report import judge
    from crewgate.demo.restart import restart
    from crewgate.demo.stage import running
    from crewgate.demo.story import play

    joined = trio.Event()

    async def join_it() -> None:
        await join(gateway)
        joined.set()

    def meanwhile() -> None:
        board.print_line("meanwhile two more gateways are made and started, for the third act")
        nursery.start_soon(join_it)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handle_signals)
        stage = await build(folder)
        board.print_line("a new gateway starts: two workers, its agent, and the tools' server")
        async with running(stage) as gateway:
            start = trio.current_time()
            board.print_line(f"it is ready at {stage.url}; five sub-agents start")
            seen = await play(stage, board.on_event, meanwhile)
            await joined.wait()
            board.print_line("the gateway is ended and started again: its ledger is a file")
            restarted = await restart(stage, gateway)
            board.print_line("the second act: crew BD calls tools of crew Finance")
            crossed = await cross(stage, board.on_event, board.print_line)
            board.print_line("the third act: the three gateways tell each other what is revoked")
            ended = await end_everywhere(stage, board.on_event, board.print_line)
            received = await stage.received()
        board.print_line("the gateways have ended; their audits are asked")
        calls, further = await ask_audits(stage)
        seconds = trio.current_time() - start
        seen = replace(seen, received=received, calls=calls, seconds=seconds)
        ended = replace(ended, calls=further)
        nursery.cancel_scope.cancel()
    return judge(seen, crossed, restarted, ended)


async def handle_signals() -> None:
    """End in order: the processes first, then the folder.

    Without this, Python raises KeyboardInterrupt wherever it is. Where it ignores exceptions (in a
    destructor, say), the story would go on.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        DemoError: SIGTERM came before the story was over.
    """
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise DemoError("ended by SIGTERM before the story was over")


def _first(group: BaseExceptionGroup[CrewgateError]) -> CrewgateError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, CrewgateError):
        raise TypeError(f"a group of our errors holds {type(error).__name__}") from error
    return error
