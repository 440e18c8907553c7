"""`crewgate config`: describes the configuration file. `crewgate check` checks one."""

import click

from crewgate.cli.options import UntruncatedHelpGroup


@click.group("config", cls=UntruncatedHelpGroup)
def command() -> None:
    """Describe the configuration file for editors."""


@command.command("schema")
def schema() -> None:
    """Print a JSON Schema of the configuration file.

    Editors with Taplo, such as Visual Studio Code with "Even Better TOML", check a file with the
    schema, complete its keys and explain them. `crewgate init` writes the schema beside the new
    configuration. After an upgrade of Crewgate, write it again with `crewgate config schema >
    crewgate.schema.json`. To use the schema for another file, write `#:schema
    ./crewgate.schema.json` as the first line of that file.
    """
    from crewgate.config.json_schema import json_schema_text

    click.echo(json_schema_text(), nl=False)
