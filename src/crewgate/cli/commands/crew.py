"""`crewgate crew`: creates the keys of a further crew, and prints its configuration section."""

import errno
import json
import os
from pathlib import Path

import click

from crewgate.cli.options import TOOL_NAME, config_option, json_option
from crewgate.config import values
from crewgate.core.actors import RESERVED_CREW_NAMES
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import cause, create_file, make_folder

_SECTION = """
[crew.{name}]
issuer = "https://{name}.crewgate.example"
jwks = "crews/{name}.jwks.json"
signing_key = "crews/{name}/signing.key"
tools = {tools}
credits_per_branch = "1000"
"""


@click.command("crew")
@config_option
@click.argument("name", metavar="CREW")
@click.option(
    "--tools",
    type=TOOL_NAME,
    multiple=True,
    required=True,
    metavar="TOOL",
    help="Tool or pattern that the crew's keys may grant; repeat it for several.",
)
@json_option
def command(*, config_path: Path, name: str, tools: tuple[str, ...], as_json: bool) -> None:
    """Create a crew's signing key and JWKS, and print its configuration section.

    Append the section to a copy of the configuration, and rename the copy to FILE; a running
    gateway then accepts the crew. Example: cp FILE NEXT; crewgate crew -c FILE bd --tools 'x.*' >>
    NEXT; mv NEXT FILE. Only the crew's orchestrator needs the signing key: move the key to where
    the orchestrator runs.
    """
    try:
        values.NAME.read(name)
        patterns = [values.TOOL_PATTERN.read(pattern) for pattern in tools]
    except ValueError as error:
        expected = f"expected {values.NAME.expected}, and tools such as search.web or search.*"
        given = f"crew {name!r} with tools {', '.join(map(repr, tools))}"
        raise ConfigurationError(f"{given}: {expected}") from error
    if name in RESERVED_CREW_NAMES:
        raise ConfigurationError(
            f"crew {name!r}: the audit would show its orchestrators as {name}/NAME, as it names "
            "somebody else; choose another name"
        )
    write_crew(config_path.parent / "crews", name)
    section = _SECTION.format(name=name, tools=json.dumps(patterns))
    click.echo(json.dumps({"section": section}) if as_json else section, nl=as_json)


def write_crew(crews: Path, name: str) -> None:
    """Write `crews`/NAME/signing.key, readable by its owner only, and `crews`/NAME.jwks.json.

    Nothing is overwritten. Raises ConfigurationError if a file exists or cannot be written.
    """
    from crewgate.issuer.signing import SigningKey

    # A kid must be unique among the keys of all crews, so the crew's name is not enough.
    key = SigningKey.generate(f"{name}-{os.urandom(4).hex()}")
    jwks = f"{json.dumps({'keys': [key.jwk()]}, indent=2)}\n"
    try:
        if not make_folder(crews / name, 0o700):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(crews / name))
        key.write(crews / name / "signing.key")
        create_file(crews / f"{name}.jwks.json", jwks.encode(), 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: cannot be written: {cause(error)}; `crews` is a folder beside the "
            "configuration"
        ) from error
