"""mint, refresh and inspect, end to end but for a gateway."""

import json
from pathlib import Path

import pytest
from cli_runner import Run

from crewgate.config import load
from crewgate.issuer.inspection import read_claims

BRANCH = "execution_branch_id"


def test_mint_prints_the_token_and_nothing_else(mint: Run) -> None:
    """Standard output is one token that gateways accept the form of; a root by default."""
    result = mint("--ttl", "10m", "--process", "pid_7")
    assert (result.exit_code, result.stderr) == (0, "")
    (token,) = result.stdout.splitlines()
    claims = read_claims(token)
    assert (claims.crew, claims.agent_role, claims.process_id) == ("article", "researcher", "pid_7")
    assert (claims.allowed_tools, claims.credit_quota) == (["search.*"], 2_500_000)
    assert (claims.branch_path, claims.exp - claims.iat) == ([], 600)


def test_mint_takes_several_tools(mint: Run) -> None:
    """--tools may be given again, or hold several names with commas between."""
    token = mint("--tools", "embeddings.create,publish.post").stdout
    assert read_claims(token).allowed_tools == ["search.*", "embeddings.create", "publish.post"]


def test_a_child_hangs_on_its_parent_and_says_what_was_not_checked(mint: Run) -> None:
    """With --parent the path is there, and a person reads what was not checked."""
    parent = mint().stdout.strip()
    result = mint("--parent", parent)
    assert (
        "does not check that all children of the parent together stay within its 2.50 credits"
        in result.stderr
    )
    path = read_claims(result.stdout).branch_path
    assert [element.id for element in path] == [read_claims(parent).execution_branch_id]


def test_a_child_may_not_have_more_than_its_parent(mint: Run) -> None:
    """More credits or another tool than the parent's is refused before anything is signed."""
    parent = mint().stdout.strip()
    assert "more than the parent's 2.50" in mint("--parent", parent, "--credits", "3").stderr
    result = mint("--parent", parent, "--tools", "publish.post")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "outside the parent's tools" in result.stderr


def test_a_forged_token_is_neither_a_parent_nor_refreshed(mint: Run, run: Run, fresh: Path) -> None:
    """What this crew's key did not sign gets no signature from it."""
    token = mint().stdout.strip()
    head, payload, signature = token.split(".")
    forged = f"{head}.{payload}.{'A' * 4 + signature[4:]}"
    for result in (mint("--parent", forged), run("refresh", "-c", fresh, forged)):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "not signed by a key of crew article" in result.stderr


def test_refresh_is_another_grant_of_the_same_branch(mint: Run, run: Run, fresh: Path) -> None:
    """Branch, tools and credits stay; the grant is new. The token may come on standard input."""
    token = mint().stdout
    result = run("refresh", "-c", fresh, "-", "--json", stdin=token)
    document = json.loads(result.stdout)
    before, after = read_claims(token), read_claims(document["token"])
    assert document["branch"] == before.execution_branch_id == after.execution_branch_id
    assert document["grant"] == after.jti != before.jti
    assert document["expires"] == after.exp
    assert (after.allowed_tools, after.credit_quota) == (["search.*"], 2_500_000)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--credits", "1.0000001"), "at most six decimals"),
        (("--credits", "1001"), "a branch of crew article may have 0 to 1000.00"),
        (("--tools", "admin.*"), "outside the tools of crew article"),
        (("--crew", "bd"), "no crew 'bd'; the file has: article"),
        (("--ttl", "16m"), "seconds from 1 to 900, as crew article allows, not 960"),
        (("--ttl", "soon"), "is not a duration; write 90s"),
        (("--role", "a b"), "role 'a b' must be"),
    ],
)
def test_what_no_gateway_would_honour_is_not_minted(
    mint: Run, options: tuple[str, ...], told: str
) -> None:
    """The crew's ceilings and the token's form are held at the source, in one clear line."""
    result = mint(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_crew_without_a_signing_key_cannot_mint(mint: Run, fresh: Path) -> None:
    """A gateway's own configuration names no signing key, and the error says so."""
    text = fresh.read_text().replace('signing_key = "crews', '# "crews')
    fresh.write_text(text)
    assert load(fresh).crew("article").signing_key is None
    assert "has no signing_key" in mint().stderr


def test_inspect_says_that_nothing_was_checked_unless_it_was(
    mint: Run, run: Run, fresh: Path
) -> None:
    """Without -c anyone may have written the token; with -c the key that signed it is named."""
    token = mint().stdout.strip()
    assert "signature     not checked" in run("inspect", token).stdout
    assert "signature     good, key article-" in run("inspect", "-c", fresh, token).stdout
    head, payload, signature = token.split(".")
    forged = f"{head}.{payload}.{'A' * 4 + signature[4:]}"
    told = run("inspect", "-c", fresh, forged).stdout
    assert "signature     of no key in this configuration" in told


def test_inspect_explains_every_claim(mint: Run, run: Run) -> None:
    """A person reads branch, crew, role, tools, credits and when it ends."""
    token = mint("--ttl", "15m").stdout.strip()
    told = run("inspect", token).stdout
    claims = read_claims(token)
    for text in (claims.execution_branch_id, "article/article-1", "researcher", "search.*", "2.50"):
        assert text in told
    assert "the root of a run" in told


def test_inspect_json_is_one_document_of_what_stands_there(mint: Run, run: Run) -> None:
    """A script gets header and payload as they are, and whether a gateway accepts the form."""
    token = mint().stdout.strip()
    document = json.loads(run("inspect", token, "--json").stdout)
    assert document["signature"] == "not checked"
    assert document["well_formed"] is True
    assert document["header"]["typ"] == "at+jwt"
    assert document["payload"][BRANCH] == read_claims(token).execution_branch_id


def test_inspect_shows_a_hostile_token_without_obeying_it(run: Run) -> None:
    """A payload that steers terminals is printed escaped, and said to be refused."""
    token = "eyJhIjoxfQ.eyJzdWIiOiJcdTAwMWJbMkogXHUyMDJlIn0.AA"
    told = run("inspect", token).stdout
    assert "every gateway refuses this token" in told
    assert "\x1b" not in told
    assert "\u202e" not in told
