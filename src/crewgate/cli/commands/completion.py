"""`crewgate completion`: prints what a shell needs to complete `crewgate` commands."""

import click

from crewgate.cli.completion import bash, fish, zsh
from crewgate.cli.completion.command_tree import commands_of

_SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print the completion script of a shell.

    The script completes commands, options, their choices and files. After `-c FILE`, it also
    completes the names of crews and tools in that file.

    Write the script to a file that your shell reads, and open a new shell. For bash, the file is
    ~/.local/share/bash-completion/completions/crewgate. For zsh, it is the file _crewgate in a
    folder of `fpath`. For fish, it is ~/.config/fish/completions/crewgate.fish. After an upgrade of
    Crewgate, write the script again.
    """
    root = ctx.find_root().command
    if not isinstance(root, click.Group):
        raise TypeError(root)
    click.echo(_SHELLS[shell](commands_of(root, "crewgate")), nl=False)
