"""`crewgate bench`: loads a gateway, and shows how long its answers take at each rate."""

import json
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crewgate import limits
from crewgate.cli.options import json_option, print_problems
from crewgate.core.terminal_text import printable
from crewgate.errors import ConfigurationError, LoadTestError
from crewgate.load_test.plan import Request, Shape, Step, Target
from crewgate.load_test.result import SUCCESS, StepResult

if TYPE_CHECKING:
    from crewgate.load_test.client import LoadClient

_TOKEN_VARIABLE = "CREWGATE_TOKEN"
# Without --rate: parts of the rate that the gateway reaches.
_PARTS = (0.1, 0.25, 0.5, 0.75, 0.9)
_UNSAFE = "h2load takes the token as an argument: each user of this machine can read it in `ps`"


@click.command("bench")
@click.option("--against", "url", metavar="URL", required=True, help="URL of a tool at a gateway.")
@click.option(
    "--token",
    metavar="TOKEN",
    help=f"Token of the caller; - reads it from stdin (default: the variable {_TOKEN_VARIABLE}).",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token.",
)
@click.option("--method", help="Method of the request (default: GET, or POST with --body).")
@click.option(
    "--body",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the body of each request.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME:VALUE",
    multiple=True,
    help="Further header field; repeat it.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, limits.load_test_connections_max),
    default=16,
    show_default=True,
    help="Connections of the client.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, limits.load_test_streams_max),
    default=8,
    show_default=True,
    help="Requests at a time on each connection, at most.",
)
@click.option(
    "--rate",
    "rates",
    metavar="N",
    multiple=True,
    type=click.FloatRange(0.1, limits.load_test_rate_max),
    help="Requests a second; repeat it for several steps (default: parts of the highest rate).",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, limits.load_test_seconds_max),
    default=5,
    show_default=True,
    help="Length of each step.",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CA file that signed the gateway's certificate (default: the system's CAs).",
)
@click.option("--insecure", is_flag=True, help="Do not verify the gateway's certificate.")
@click.option(
    "--client",
    type=click.Choice(["bundled", "h2load"]),
    default="bundled",
    show_default=True,
    help="Client that makes the load. With h2load, `ps` shows the token.",
)
@click.option(
    "--plot",
    metavar="FILE.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw latency over rate into this file.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    url: str,
    token: str | None,
    token_file: Path | None,
    method: str | None,
    body: Path | None,
    headers: tuple[str, ...],
    connections: int,
    streams: int,
    rates: tuple[float, ...],
    seconds: float,
    ca: Path | None,
    insecure: bool,
    client: str,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Load a gateway, and show how long its answers take at each rate.

    Each request is a real call: the tool runs, and the branch of the token pays. The command sends
    one request first, and ends if its answer is not 2xx. Then it sends one request on each stream
    at once ("start"), then as many as come back ("maximum"), then each rate.

    Exit status 0: every answer was 2xx. Exit status 1: some were not. Exit status 2: the command
    cannot use its arguments or reach the gateway.
    """
    from crewgate.cli.output.load_test import document, draw, print_results
    from crewgate.load_test.client import LoadClient

    if len(rates) > limits.load_test_rates_max:
        raise ConfigurationError(f"--rate: more than {limits.load_test_rates_max} steps")
    if plot is not None:
        from crewgate.load_test.plot import require_matplotlib

        require_matplotlib()
    request = _request(url, method, headers, body, _token(token, token_file))
    shape = Shape(connections, streams)
    bundled = LoadClient(request, shape, _context(ca, insecure=insecure))
    _send_one(bundled, request)
    run = bundled.run
    if client == "h2load":
        from crewgate.load_test.h2load import H2Load

        run = H2Load(request, shape).run
        print_problems(_UNSAFE)
    results = _measure(run, shape, rates, seconds)
    if as_json:
        click.echo(json.dumps(document(request, shape, client, results)))
    else:
        print_results(results)
    if plot is not None:
        draw(plot, request, results)
    ctx.exit(1 if any(result.others for result in results) else 0)


def _token(token: str | None, token_file: Path | None) -> str:
    """Return the token of an option or of the environment; "" if there is none."""
    from crewgate.cli.tokens import read_token

    if token is not None and token_file is not None:
        raise click.UsageError("--token and --token-file exclude each other")
    if token_file is not None:
        with token_file.open(encoding="utf-8") as file:
            return file.read(16 * limits.token_bytes_max).strip()
    if token is None:
        token = os.environ.get(_TOKEN_VARIABLE, "")
    return read_token(token)


def _request(
    url: str, method: str | None, headers: tuple[str, ...], body: Path | None, token: str
) -> Request:
    """Return the request. Raises ConfigurationError for a part that HTTP does not take."""
    content = b""
    if body is not None:
        with body.open("rb") as file:
            content = file.read(limits.load_test_body_bytes_max + 1)
        if len(content) > limits.load_test_body_bytes_max:
            raise ConfigurationError(f"{body}: more than {limits.load_test_body_bytes_max} bytes")
    if len(headers) > limits.load_test_fields_max:
        raise ConfigurationError(f"--header: more than {limits.load_test_fields_max} fields")
    lines = [f"authorization: Bearer {token}"] if token else []
    lines += [f"content-length: {len(content)}"] if content else []
    fields = tuple(_field(line) for line in (*lines, *headers))
    method = method or ("POST" if content else "GET")
    if not method.isascii() or not method.isalpha():
        raise ConfigurationError(f"--method {method!r}: not a method of HTTP")
    return Request(Target.of(url), method.upper(), fields, content)


def _field(line: str) -> tuple[bytes, bytes]:
    """Return a header field. An error does not show its value, which may be a secret."""
    name, _, value = line.partition(":")
    value = value.strip()
    is_name = bool(name) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not is_name or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"header {name!r}: write NAME:VALUE in ASCII, on one line")
    return name.lower().encode("ascii"), value.encode("ascii")


def _context(ca: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """Return the TLS context of the client."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{ca}: not a file of certificates in PEM ({error})") from error
    context.set_alpn_protocols(["h2"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _send_one(client: "LoadClient", request: Request) -> None:
    """Send one request. Raises LoadTestError if its answer is not 2xx."""
    status, body = client.send_one()
    if status in SUCCESS:
        return
    text = printable(body.decode("utf-8", "replace").strip())
    answer = f"with status {status}: {text}" if status else "by a reset of its stream"
    raise LoadTestError(f"{request.target.url}: the first request was answered {answer}")


def _measure(
    run: Callable[[Step], StepResult], shape: Shape, rates: tuple[float, ...], seconds: float
) -> list[StepResult]:
    """Run all steps."""
    start = Step("start", limits.load_test_answer_seconds, requests=shape.total)
    results = [run(start), run(Step("maximum", seconds))]
    if not rates:
        highest = results[-1].per_second
        rates = tuple(rate for part in _PARTS if (rate := round(highest * part)))
    results += [run(Step(f"{rate:g} a second", seconds, rate)) for rate in rates]
    return results
