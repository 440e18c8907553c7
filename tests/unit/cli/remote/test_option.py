"""`--control`: which way a command goes, and what a client of the API makes of answers."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
import pytest
from cli_runner import Run
from click.testing import CliRunner

from crewgate.api.schemas import HealthResponse
from crewgate.cli.remote import commands
from crewgate.cli.remote.ca import revoke
from crewgate.cli.remote.client import ClientCertificateFiles, ControlClient
from crewgate.errors import ConfigurationError, ControlError, ServiceConnectionError

NOTHING: dict[str, Any] = {
    "branch": None, "grant": None, "process": None, "all_tokens_of": None, "crew": "",
    "until": "", "reason": "", "as_json": False,
}  # fmt: skip


@pytest.fixture
def credentials(fresh: Path, tmp_path: Path, run: Run) -> ClientCertificateFiles:
    """An operator's, of the fresh folder's CA."""
    prefix = tmp_path / "ada"
    given = ("--role", "operator", "--name", "ada", "--out", prefix)
    assert run("ca", "issue", "-c", fresh, *given).exit_code == 0
    return ClientCertificateFiles(
        Path(f"{prefix}.pem"), Path(f"{prefix}.key"), fresh.parent / "certs" / "ca.pem"
    )


def client_that_gets(
    answer: httpx.Response | Exception, credentials: ClientCertificateFiles
) -> ControlClient:
    """A client whose server says this, whatever it is asked."""

    def serve(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = ControlClient("https://control.example:8445", credentials)
    client._http.close()
    client._http = httpx.Client(
        base_url=client.url, transport=httpx.MockTransport(serve), trust_env=False
    )
    return client


def test_an_answer_is_a_struct(credentials: ClientCertificateFiles) -> None:
    """Of the kind that was asked for; members that a newer server adds are not in the way."""
    answer = httpx.Response(200, json={"status": "ok", "new": 1})
    with client_that_gets(answer, credentials) as client:
        assert client.get("/readyz", HealthResponse) == HealthResponse(status="ok")


def test_an_answer_may_have_a_status_that_says_unready(credentials: ClientCertificateFiles) -> None:
    """Where it is asked for; any other is a refusal."""
    answer = httpx.Response(503, json={"status": "waiting"})
    with client_that_gets(answer, credentials) as client:
        assert client.get("/readyz", HealthResponse, unready=503) == HealthResponse(
            status="waiting"
        )
        with pytest.raises(ControlError):
            client.get("/readyz", HealthResponse)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (httpx.Response(409, json={"detail": "two crews"}), ControlError, "two crews (409)"),
        (
            httpx.Response(400, json={"error": "invalid_grant", "error_description": "dead"}),
            ControlError,
            "invalid_grant: dead (400)",
        ),
        (httpx.Response(502, text="<html>"), ControlError, "the API refuses the request (502)"),
        (httpx.Response(307, headers={"location": "https://evil"}), ControlError, "(307)"),
        (httpx.Response(200, text="<html>"), ServiceConnectionError, "not a response of this API"),
        (httpx.Response(400, json={"detail": "a\x1b[31m\nb"}), ControlError, "(400)"),
        (httpx.ConnectError("refused"), ServiceConnectionError, "refused; is the control process"),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            ServiceConnectionError,
            "self-signed; the root certificate (`ca`) must be the one that signed the server's",
        ),
        (httpx.ReadTimeout("slow"), ServiceConnectionError, "no answer in time"),
        (httpx.ReadError("alert"), ServiceConnectionError, "broke off: alert"),
    ],
)
def test_what_goes_wrong_is_one_printable_line(
    credentials: ClientCertificateFiles,
    answer: httpx.Response | Exception,
    error: type[Exception],
    says: str,
) -> None:
    """Whose fault it is by its kind; nothing that a server says controls a terminal."""
    with client_that_gets(answer, credentials) as client, pytest.raises(error) as raised:
        client.get("/readyz", HealthResponse)
    text = str(raised.value)
    assert says in text
    assert text.startswith("https://control.example:8445: ")
    assert text.isprintable()


@pytest.mark.parametrize(
    ("refusal", "slug"),
    [
        ({"error": "invalid_grant", "type": "https://crewgate.dev/problems/x-y"}, "x-y"),
        ({"detail": "no", "type": "https://crewgate.dev/problems/refused"}, "refused"),
        ({"error": "invalid_grant"}, "invalid_grant"),  # an older gateway
        ({}, "refused"),
    ],
)
def test_the_type_of_a_problem_names_its_slug(
    credentials: ClientCertificateFiles, refusal: dict[str, str], slug: str
) -> None:
    """For an OAuth error as well, which has another code."""
    with (
        client_that_gets(httpx.Response(400, json=refusal), credentials) as client,
        pytest.raises(ControlError) as raised,
    ):
        client.get("/readyz", HealthResponse)
    assert raised.value.slug == slug


@pytest.mark.parametrize("url", ["", "x", "http://a", "https://", "https://a:b", "https://a:0",
                                 "https://a/b", "https://a?b", "https://a#b", "https://u@a",
                                 "https://a\nb", "https://[::1"])  # fmt: skip
def test_a_url_is_an_https_authority_and_nothing_more(
    url: str, credentials: ClientCertificateFiles
) -> None:
    """Nothing is sent to anything else."""
    with pytest.raises(ConfigurationError, match="expected https://HOST:PORT"):
        ControlClient(url, credentials)


def test_files_that_cannot_be_used_are_named(
    credentials: ClientCertificateFiles, tmp_path: Path
) -> None:
    """The root, the certificate, the key."""
    with pytest.raises(ConfigurationError, match="cannot read the root certificate"):
        ControlClient("https://a", credentials._replace(root=tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="as `crewgate ca issue --out"):
        ControlClient("https://a", credentials._replace(certificate=tmp_path / "none.pem"))
    (tmp_path / "bad.pem").write_text("x")
    with pytest.raises(ConfigurationError, match="not a certificate of the internal CA"):
        credentials._replace(certificate=tmp_path / "bad.pem").identity()
    assert credentials.identity().label == "operator/ada"


def test_a_command_needs_one_of_the_two(
    run: Run, fresh: Path, credentials: ClientCertificateFiles
) -> None:
    """A configuration here, or an API and what it takes to ask it; each missing thing by name."""
    api, prefix = (
        ("--control", "https://localhost:1"),
        ("--cert", credentials.certificate.with_suffix("")),
    )
    for arguments, says in (
        ((), "Missing option '-c'"),
        (api, "--control needs --cert PREFIX"),
        ((*api, *prefix), "--control needs --ca FILE"),
        (prefix, "--cert is only for --control URL"),
        (("-c", fresh, "--ca", credentials.root), "--ca is only for --control URL"),
        ((*api, *prefix, "-c", fresh), "cannot connect"),
    ):
        for command in (("tree",), ("revoke", str(UUID(int=1))), ("ca", "revoke", "0B")):
            result = run(*command, *arguments)
            assert (result.exit_code, result.stdout) == (2, "")
            assert says in result.stderr
    result = run("status", *api, *prefix, "--ca", credentials.root, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["ready"] is False


def test_what_is_revoked_by_the_api_is_what_the_options_name(
    credentials: ClientCertificateFiles,
) -> None:
    """The same things as here, and as little by accident; the receipt says what it was."""
    asked: list[dict[str, str]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        target = "grant" if asked[-1]["grant"] else "crew"
        answer = {"target": target, "id": "g-1" if target == "grant" else "bd", "crew": "bd"}
        return httpx.Response(200, json=answer)

    client = client_that_gets(httpx.Response(500), credentials)
    client._http.close()
    transport = httpx.MockTransport(serve)
    client._http = httpx.Client(base_url=client.url, transport=transport, trust_env=False)
    with client:
        commands.revoke(client, **{**NOTHING, "grant": "g-1", "crew": "bd"})
        commands.revoke(client, **{**NOTHING, "all_tokens_of": "bd"})
        with pytest.raises(click.UsageError):
            commands.revoke(client, **{**NOTHING, "crew": "bd"})
    named = [{k: v for k, v in each.items() if v and k != "reason"} for each in asked]
    assert named == [{"grant": "g-1", "crew": "bd"}, {"all_tokens_of": "bd"}]


REVOKED = {
    "target": "certificate", "id": "0B", "crew": "", "of": 3, "ms": 7.4, "connections_closed": 2,
    "cut_ms": 1.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "status", "says"),
    [
        ({"applied_on": 2}, 0, "on the disks of 2 of 3 machines after 7.4 ms"),
        (
            {"applied_on": 1, "of": 1, "connections_closed": 1},
            0,
            "revoked serial 0B: 1 open connection closed within 1.5 ms",
        ),
        (
            {"applied_on": 1, "missing": ["b", "c"], "enough": False},
            3,
            "no answer yet from: b, c\nthat is less than a majority; this machine keeps sending it",
        ),
        (
            {"applied_on": 0, "of": 1, "missing": ["this machine"], "enough": False},
            0,
            "revoked serial 0B: no gateway runs there; it gets the revocation when it starts",
        ),
    ],
)
def test_a_certificate_that_too_few_machines_know_as_revoked_is_an_exit_status(
    credentials: ClientCertificateFiles, found: dict[str, Any], status: int, says: str
) -> None:
    """As of `revoke`; where no agent runs it is in the register, which is all there was to do."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(*, as_json: bool) -> None:
        with client_that_gets(httpx.Response(200, json=REVOKED | found), credentials) as client:
            revoke(client, which="0B", reason="unspecified", as_json=as_json)

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.output.splitlines()[-1]) == (status, says.splitlines()[-1])
    assert says in result.output
    result = CliRunner().invoke(command, ["--json"])
    told = json.loads(result.output)
    assert (result.exit_code, told["cut_ms"]) == (status, 1.5)
    assert told["announced"] is (told["reach"] is not None) is (found["applied_on"] > 0)
