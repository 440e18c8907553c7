"""The options of `crewgate mint`, and how a token is read and printed."""

import json
import sys
from pathlib import Path

import click
import msgspec

from crewgate import limits
from crewgate.cli.options import Function
from crewgate.core.tokens.claims import Claims, Confirmation
from crewgate.errors import ConfigurationError


class MintOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `crewgate mint`; `quota` is in micro-credits, `ttl` in seconds."""

    crew: str
    role: str
    tools: tuple[str, ...]
    quota: int
    parent: str | None
    ttl: int | None
    name: str | None
    process: str | None
    key: Path | None
    certificate: Path | None
    subject: str | None
    subject_token: str | None
    reason: str

    @property
    def tool_names(self) -> list[str]:
        """The tools."""
        return tool_names(self.tools)

    def check_subject(self) -> None:
        """Refuse options of which only one can say on whose behalf the branch acts.

        Raises:
            click.UsageError: Several of --parent, --subject and --subject-token are given.
        """
        if sum(each is not None for each in (self.parent, self.subject, self.subject_token)) > 1:
            raise click.UsageError(
                "--subject and --subject-token: give one of them, and none with --parent, whose "
                "subject the branch takes"
            )

    def read_subject_token(self) -> str | None:
        """Return the identity provider's token that --subject-token names; None without it.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        if self.subject_token is None:
            return None
        if self.subject_token == "-":
            return sys.stdin.read(limits.subject_token_bytes_max + 1)
        try:
            with Path(self.subject_token).open() as file:
                return file.read(limits.subject_token_bytes_max + 1)
        except (OSError, UnicodeError) as error:
            # The path may be a token that somebody has written in its place.
            raise ConfigurationError(
                "--subject-token: the file cannot be read; expected the path of a file with the "
                "token, or - for standard input"
            ) from error

    def binding(self) -> Confirmation | None:
        """Return the binding to `key` and `certificate`; raises the errors of `binding_of`."""
        return binding_of(self.key, self.certificate)


def binding_options(command: Function) -> Function:
    """Add --key and --certificate to a command."""
    file = click.Path(dir_okay=False, path_type=Path)
    key = click.option(
        "--key",
        type=file,
        help="Bind the token to the Ed25519 or P-256 key in this PEM file, which may be public.",
    )
    certificate = click.option(
        "--certificate",
        type=file,
        help="Bind the token to the client certificate in this PEM file.",
    )
    return key(certificate(command))


def binding_of(key: Path | None, certificate: Path | None) -> Confirmation | None:
    """Return the binding to the key and the certificate in two PEM files; None without both.

    Raises:
        ConfigurationError: A file cannot be read, or has no key or certificate.
    """
    if key is None and certificate is None:
        return None
    # The module imports an X.509 library.
    from crewgate.issuer.bindings import binding_of_certificate, binding_of_key

    jkt = None if key is None else binding_of_key(key).jkt
    x5t = None if certificate is None else binding_of_certificate(certificate).x5t
    return Confirmation(jkt, x5t)


class RefreshOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `crewgate refresh`; `quota` is in micro-credits, `ttl` and `time` in seconds.

    None and an empty text keep what the branch has.
    """

    token: str
    ttl: int | None
    quota: int | None
    tools: tuple[str, ...]
    time: int | None
    key: Path | None
    certificate: Path | None
    reason: str

    @property
    def tool_names(self) -> list[str] | None:
        """The tools; None keeps the present ones."""
        return tool_names(self.tools) or None

    def binding(self) -> Confirmation | None:
        """Return the binding to `key` and `certificate`; raises the errors of `binding_of`."""
        return binding_of(self.key, self.certificate)


def tool_names(given: tuple[str, ...]) -> list[str]:
    """Return tools; a person repeats the option, or separates several tools with commas."""
    return [tool for each in given for tool in each.replace(",", " ").split()]


def binding_words(confirmation: Confirmation | None) -> list[str]:
    """Return what the presenter of a token must have, for a person to read."""
    found = []
    if confirmation is not None and confirmation.jkt:
        found.append(f"the key with thumbprint {confirmation.jkt}")
    if confirmation is not None and confirmation.x5t:
        found.append(f"the certificate with digest {confirmation.x5t}")
    return found or ["no key: it is good for everyone who reads it"]


def read_token(argument: str) -> str:
    """Return the token; "-" reads it from standard input, because `ps` shows arguments."""
    text = sys.stdin.read(16 * limits.token_bytes_max) if argument == "-" else argument
    return text.strip()


def show_token(token: str, claims: Claims, *, as_json: bool) -> None:
    """Print the token and nothing else, or a JSON document with its branch, grant and end."""
    document = {
        "token": token,
        "branch": claims.execution_branch_id,
        "grant": claims.jti,
        "expires": claims.exp,
    }
    click.echo(json.dumps(document) if as_json else token)
