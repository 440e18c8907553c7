"""`crewgate crew`: another crew's keys beside a configuration, and the section that names it."""

import errno
import json
import os
from pathlib import Path

import click

from crewgate.cli.options import config_option, json_option
from crewgate.config import values
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
    multiple=True,
    required=True,
    help="A tool's name or a pattern that its keys may grant; may be given again.",
)
@json_option
def command(*, config_path: Path, name: str, tools: tuple[str, ...], as_json: bool) -> None:
    """Make a crew's signing key and JWKS, and print the section for the configuration.

    Append it, and the running gateway takes the crew up: crewgate crew -c FILE bd --tools 'x.*' >>
    FILE. The key is for the crew's orchestrator alone: move it to where that runs.
    """
    try:
        values.NAME.read(name)
        patterns = [values.TOOL_PATTERN.read(pattern) for pattern in tools]
    except ValueError as error:
        expected = f"expected {values.NAME.expected}; and tools such as search.web or search.*"
        raise ConfigurationError(f"crew {name!r}: {expected}") from error
    write_crew(config_path.parent / "crews", name)
    section = _SECTION.format(name=name, tools=json.dumps(patterns))
    click.echo(json.dumps({"section": section}) if as_json else section, nl=as_json)


def write_crew(crews: Path, name: str) -> None:
    """Write `crews`/NAME/signing.key, for its owner alone, and `crews`/NAME.jwks.json.

    ConfigurationError if something is in the way: nothing is overwritten.
    """
    from crewgate.issuer.signing import SigningKey

    # A kid names one key among all crews, so it is not just the crew's name.
    key = SigningKey.generate(f"{name}-{os.urandom(4).hex()}")
    jwks = f"{json.dumps({'keys': [key.jwk()]}, indent=2)}\n"
    try:
        if not make_folder(crews / name, 0o700):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(crews / name))
        key.write(crews / name / "signing.key")
        create_file(crews / f"{name}.jwks.json", jwks.encode(), 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: cannot be written: {cause(error)}; the folder crews stands beside "
            "the configuration"
        ) from error
