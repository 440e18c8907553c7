"""What the commands do with identity providers: mint with tokens, check and copy files."""

import json
import time
from pathlib import Path

import pytest
from cli_runner import Run
from click.testing import Result
from identity_provider_world import ISSUER, id_token, jwk, jwks

from crewgate.cli.backup.inventory import inventory
from crewgate.config import load
from crewgate.issuer import read_claims

TABLE = f"""
[identity_provider.corp]
issuer = "{ISSUER}"
audience = ["crew-app"]
jwks = "corp.jwks.json"
"""


@pytest.fixture
def corp(fresh: Path) -> Path:
    """The configuration knows the provider, and has its keys."""
    fresh.with_name("corp.jwks.json").write_bytes(jwks())
    fresh.write_text(fresh.read_text() + TABLE)
    return fresh


@pytest.fixture
def mint(corp: Path, run: Run) -> Run:
    """Mints for crew article; text on standard input may be given."""

    def mint_token(*options: object, stdin: str | None = None) -> Result:
        given = ("-c", corp, "--crew", "article", "--role", "researcher")
        return run(
            "mint", *given, "--tools", "search.*", "--credits", "2.50", *options, stdin=stdin
        )

    return mint_token


def token(**changes: object) -> str:
    """Ada's, of now."""
    now = int(time.time())
    return id_token(**{"iat": now, "exp": now + 300, **changes})


def test_a_run_is_minted_for_whom_the_token_names(mint: Run, tmp_path: Path) -> None:
    """The token comes from a file or from standard input; a child takes its parent's subject."""
    file = tmp_path / "ada.jwt"
    file.write_text(token() + "\n")
    found = [mint("--subject-token", file), mint("--subject-token", "-", stdin=token())]
    found.append(mint("--parent", found[0].stdout.strip()))
    assert [each.exit_code for each in found] == [0, 0, 0], found[0].stderr
    claims = [read_claims(each.stdout) for each in found]
    assert {each.sub for each in claims} == {"corp:ada"}
    assert claims[2].act is not None
    assert claims[2].act.names == ["article/article-1", "researcher"]
    assert read_claims(mint("--subject", "customer:7").stdout).sub == "customer:7"


@pytest.mark.parametrize(
    ("options", "stdin", "why"),
    [
        (("--subject-token", "-"), token(aud="x"), "the token is for another application"),
        (("--subject-token", "-"), "", "it is no signed JWT"),
        (("--subject-token", token()), "", "--subject-token: the file cannot be read"),
        (("--subject", "corp:ada"), "", "only a token of identity provider corp"),
        (("--subject", "two words"), "", "subject 'two words' must be 1 to 128 characters"),
        (("--subject", "a", "--subject-token", "-"), token(), "give one of them"),
        (("--subject", "a", "--parent", "x"), "", "none with --parent"),
    ],
)
def test_nothing_is_minted_for_anybody_else(
    mint: Run, options: tuple[str, ...], stdin: str, why: str
) -> None:
    """In one line; a token in the wrong place is not repeated."""
    done = mint(*options, stdin=stdin)
    assert (done.exit_code, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "eyJ" not in done.stderr


def test_check_reads_the_keys(corp: Path, run: Run) -> None:
    """A provider whose keys cannot be used is a problem; one that is away now is a warning."""

    def found(kind: str) -> list[str]:
        document = json.loads(run("check", "-c", corp, "--json").stdout)
        return [text for text in document[kind] if text.startswith("identity provider corp")]

    assert found("problems") == found("warnings") == []
    corp.with_name("corp.jwks.json").write_bytes(jwks(jwk("rsa-1", use="enc")))
    (problem,) = found("problems")
    assert "none of 1 keys can be used" in problem
    text = corp.read_text().replace('jwks = "corp', 'jwks_url = "https://localhost:1/"\nca = "corp')
    corp.write_text(text)
    (problem,) = found("problems")
    assert "cannot read root certificates" in problem
    certificate = corp.parent / "certs" / "ca.pem"
    corp.write_text(text.replace('ca = "corp.jwks.json"', f'ca = "{certificate}"'))
    assert found("problems") == []
    (warning,) = found("warnings")
    assert "no run can begin now: https://localhost:1/: cannot get the keys" in warning


def test_its_files_go_where_the_configuration_goes(corp: Path, run: Run, tmp_path: Path) -> None:
    """Into a backup, and with a configuration that is made from this one."""
    keys = corp.with_name("corp.jwks.json")
    assert keys in [item.path for item in inventory(load(corp))]
    made = run("init", tmp_path / "other", "--from", corp, "--budgets", "per-machine")
    assert made.exit_code == 0, made.output
    (provider,) = load(tmp_path / "other" / "crewgate.toml").identity_providers
    assert provider.jwks == keys.resolve()
