"""The `crewgate` command: its subcommands by name, each imported only when it runs.

Decides how errors look: one line on standard error and exit status 2, for whatever a person could
have typed or configured otherwise. Knows no subcommand but its name and summary.
"""

import sys
from importlib import import_module
from typing import Any, NoReturn

try:
    import click
except ImportError:
    sys.exit("crewgate: the commands need more than the library: pip install 'crewgate[gateway]'")

from crewgate.cli.options import with_program_name
from crewgate.errors import CrewgateError
from crewgate.runtime.durable_files import describe
from crewgate.runtime.memory_protection import keep_memory_private

# In the order in which a newcomer meets them; the summaries stand here so that `--help` is fast.
COMMANDS = {
    "init": "Write a configuration, certificates and keys to start with.",
    "check": "Say what is wrong with a configuration and the files that it names.",
    "serve": "Run the gateway: the agent and its workers, in the foreground.",
    "restart": "Replace the processes of a running gateway without a break.",
    "status": "Say whether the gateway is ready.",
    "mint": "Sign a token for a new branch and print it.",
    "refresh": "Sign the next token of a branch and print it.",
    "inspect": "Show what a token says.",
    "tree": "Show the branches, what they spent and may still spend.",
    "revoke": "End a branch and all that it spawned, at once.",
    "quarantine": "Admit no new grants of an orchestrator, or let it go; on all machines.",
    "crew": "Make a crew's signing key and JWKS, and print the section for the configuration.",
    "ca": "Make certificates, revoke them, and say what there is.",
    "run": "Run an orchestrator with a certificate that it uses and never holds.",
    "decommission": "End an orchestrator: certificates, tokens, key and process.",
    "cluster": "Show the machines, evict one for good, change their keys.",
    "audit": "Ask who called what, under which grant, at what cost.",
    "ledger": "Say what every crew, run and branch has spent, and keep the tables in order.",
    "backup": "Copy all that this machine would be lost without into a new folder.",
    "restore": "Put a machine back as `crewgate backup` copied it into DIR.",
    "demo": "Replay the incident on a real gateway.",
}
# What earlier versions called an option or a subcommand, by the command in which it stood.
_RENAMED = {
    ("revoke", "--every-token-of"): "--all-tokens-of",
    ("cluster", "forget"): "evict",
    ("cluster keys rotate", "--void"): "--revoke-old",
}


class _OneLineError(click.ClickException):
    """Bad input, told on one line (or one line a problem) with exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - click's signature
        click.echo(with_program_name(self.message), err=True, file=file)


class _Commands(click.Group):
    """Subcommands that are imported on use, and errors as this project tells them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"crewgate.cli.commands.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401
        try:
            return super().make_context(*args, **extra)
        except click.ClickException as error:
            _print_error(error)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        keep_memory_private()  # many commands read keys, or make them
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            _print_error(error)
        except CrewgateError as error:
            raise _OneLineError(str(error)) from error
        except BrokenPipeError:  # the reader has hung up: click ends in silence
            raise
        except OSError as error:
            raise _OneLineError(describe(error)) from error


def _print_error(error: click.ClickException) -> NoReturn:
    """A usage error without the usage; `crewgate` alone still prints its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError | _OneLineError):
        raise error
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    hint = f"; see {command} --help" if command else ""
    text = _renamed(command, error) or " ".join(error.format_message().split()).rstrip(".")
    raise _OneLineError(f"{text}{hint}") from error


def _renamed(command: str, error: click.ClickException) -> str:
    """The sentence that names the new word where an old one was typed; "" if none was."""
    old = getattr(error, "option_name", "") or getattr(error, "command_name", "")
    new = _RENAMED.get((command.partition(" ")[2], old))
    return f"{old!r} is called {new!r} now" if new else ""


@click.group("crewgate", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crewgate")
def main() -> None:
    """A gateway for the tool traffic of AI-agent crews."""
