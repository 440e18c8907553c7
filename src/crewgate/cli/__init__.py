"""The `crewgate` command and its table of subcommands, each imported only when it runs.

An error that a person can mend is one line on standard error, with exit status 2. The module knows
only the name and the summary of a subcommand.
"""

import sys
from importlib import import_module
from typing import Any, NoReturn

from crewgate.runtime.install_hint import install_hint

try:
    import click
except ImportError:
    sys.exit(install_hint("crewgate: the command", "gateway"))

from crewgate.cli.options import print_problems
from crewgate.errors import CrewgateError, ReceiverError
from crewgate.runtime.durable_files import describe
from crewgate.runtime.memory_protection import keep_memory_private

# A newcomer meets the commands in this order. The summaries are here so that `--help` is fast.
COMMANDS = {
    "init": "Create a configuration, certificates and keys for a new gateway.",
    "check": "Check a configuration and every file that it names.",
    "config": "Describe the configuration file for editors.",
    "serve": "Run the gateway (the agent process and its workers) in the foreground.",
    "restart": "Replace the processes of a running gateway without an interruption.",
    "status": "Show whether this gateway and the others are ready, and what is wrong.",
    "mint": "Sign a token for a new branch and print it.",
    "refresh": "Sign the next token of a branch and print it.",
    "inspect": "Show the claims of a token.",
    "tree": "Show the branches of all machines, what each has spent, and what it may still spend.",
    "top": "Watch what the branches of all machines spend and call, and which rules they meet.",
    "ui": "Run the live page in the foreground, and print the link that opens it.",
    "revoke": "Revoke a branch and everything below it, or single tokens.",
    "revocations": "Show what is revoked: by whom, why, until when, and on how many machines.",
    "quarantine": "Stop an orchestrator from starting branches, or let it start them again.",
    "mcp": "Show the tools of MCP servers, and approve tools that a server has changed.",
    "crew": "Create a crew's signing key and JWKS, and print its configuration section.",
    "ca": "Issue, renew, list and revoke certificates of the internal CA.",
    "run": "Run an orchestrator that uses a certificate and never holds its key.",
    "decommission": "End an orchestrator: its certificates, tokens, keys and process.",
    "cluster": "Show the machines of the cluster, evict one for good, rotate their keys.",
    "bench": "Load a gateway, and show how long its answers take at each rate.",
    "audit": "Show who called which tool, under which grant, at what cost, on all machines.",
    "journal": "Show which branch got more, why, and who decided.",
    "alerts": "Test the receivers of alerts, list the alerts, and send them again.",
    "export": "Send the audit to a collector, a syslog server, a SIEM or an archive.",
    "ledger": "Show what each crew, run and branch has spent, and maintain the ledger.",
    "backup": "Copy everything that this machine cannot make again into a new folder.",
    "restore": "Restore a machine from a backup.",
    "completion": "Print the completion script of a shell.",
    "demo": "Play an incident of an agent crew on real gateways.",
}
# The new name of an option or a subcommand, by its command and the name in earlier versions.
_RENAMED = {
    ("revoke", "--every-token-of"): "--all-tokens-of",
    ("cluster", "forget"): "evict",
    ("cluster keys rotate", "--void"): "--revoke-old",
}


class _OneLineError(click.ClickException):
    """Bad input, shown on one line (or one line for each problem), with exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002 - click's signature
        print_problems(self.message)


class _Commands(click.Group):
    """The subcommands, each imported on its first use, and how their errors are shown."""

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
        # Many commands read or create private keys.
        keep_memory_private()
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            _print_error(error)
        except ReceiverError as error:
            raise _OneLineError(error.text_and_mend) from error
        except CrewgateError as error:
            raise _OneLineError(str(error)) from error
        except BrokenPipeError:
            # The reader of our output has closed the pipe: click then exits without a message.
            raise
        except OSError as error:
            raise _OneLineError(describe(error)) from error


def _print_error(error: click.ClickException) -> NoReturn:
    """Show a usage error on one line, without the usage; bare `crewgate` still prints its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError | _OneLineError):
        raise error
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    hint = f"; see {command} --help" if command else ""
    text = _renamed(command, error) or " ".join(error.format_message().split()).rstrip(".")
    raise _OneLineError(f"{text}{hint}") from error


def _renamed(command: str, error: click.ClickException) -> str:
    """Return a sentence with the new name if a person typed an old one; else ""."""
    old = getattr(error, "option_name", "") or getattr(error, "command_name", "")
    new = _RENAMED.get((command.partition(" ")[2], old))
    return f"{old!r} is called {new!r} now" if new else ""


@click.group("crewgate", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crewgate")
def main() -> None:
    """A gateway for the tool traffic of AI-agent crews."""
