"""The gateway's issuer: three grants, for an orchestrator's own branches that are alive."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from control_world import ALWAYS_NS, Machine, add_crew

from crewgate import limits
from crewgate.api.backend import TokenRequest
from crewgate.api.schemas import BranchResponse, TokenResponse
from crewgate.config import Config
from crewgate.control.token_revocation_check import TokenRevocationCheck
from crewgate.control.token_service import TokenService, introspection
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.tokens.claims import Confirmation
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import (
    BranchRevokedError,
    ControlError,
    ExtensionRefusedError,
    IssuerError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
)
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.orchestrator import Orchestrator

ASKED = TokenRequest(credits="3", seconds=60, reason="more pages", decided_by="policy")
RUN = TokenRequest(("search.*",), "10", "lead")
CHILD = TokenRequest(("search.web",), "2.50", "researcher", "pid_7")


@pytest.fixture
def mint(config: Config, machine: Machine) -> Iterator[TokenService]:
    """An issuer on a live table."""
    sight = TokenRevocationCheck(config.state)
    found = TokenService(config, machine.graph, sight)
    yield found
    found.close()
    sight.close()


def journal(config: Config, name: str = "bd+bd-1") -> list[dict[str, object]]:
    lines = (config.state / "issuer" / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def family(mint: TokenService) -> tuple[TokenResponse, TokenResponse]:
    """A run of bd/bd-1 and a child of it."""
    run = mint.start_run("bd", "bd-1", RUN)
    return run, mint.spawn("bd", "bd-1", run.access_token, CHILD)


def test_each_grant_is_a_token_and_a_line_of_the_journal(
    mint: TokenService, config: Config
) -> None:
    """A run, its child, and an extension that says what grew; for whom and why."""
    run, child = family(mint)
    again = mint.refresh("bd", "bd-1", child.access_token, TokenRequest(credits="3"))
    claims = read_claims(again.access_token)
    assert claims.client_id == "bd/bd-1"
    assert [each.id for each in claims.branch_path] == [run.branch]
    assert (claims.process_id, claims.credit_quota) == ("pid_7", 3_000_000)
    assert (again.branch, again.scope) == (child.branch, "search.web")
    assert again.grant != child.grant
    lines = journal(config)
    assert [each["event"] for each in lines] == ["mint", "mint", "extend"]
    assert {(each["way"], each["decided_by"]) for each in lines} == {("api", "orchestrator")}
    assert lines[2]["credits"] == 500_000
    assert child.issued_token_type.endswith(":jwt")


def test_a_request_of_a_sub_agent_is_decided_by_who_the_form_says(
    mint: TokenService, config: Config
) -> None:
    """The crew has no numbers, so the policy alone says no; a callback's yes is a grant."""
    _, child = family(mint)
    with pytest.raises(ExtensionRefusedError, match="crew bd has no extension_seconds_max"):
        mint.refresh("bd", "bd-1", child.access_token, ASKED)
    decided = msgspec.structs.replace(ASKED, decided_by="callback")
    short = mint.start_run("bd", "bd-1", msgspec.structs.replace(RUN, seconds=60))
    assert short.expires_in <= 60
    more = mint.refresh("bd", "bd-1", child.access_token, decided)
    assert read_claims(more.access_token).credit_quota == 3_000_000
    refused, _, granted = journal(config)[2:]
    assert (refused["event"], refused["decided_by"], refused["credits"]) == (
        "refuse",
        "policy",
        500_000,
    )
    assert (granted["event"], granted["decided_by"], granted["why"]) == (
        "extend",
        "callback",
        "more pages",
    )


def test_tokens_are_bound_as_their_request_says(mint: TokenService) -> None:
    """A client learns from the type how it must show the token (RFC 9449, section 5)."""
    keys = Confirmation(jkt="A" * 43), Confirmation(x5t="A" * 43)
    for key, shown in zip(keys, ("DPoP", "Bearer"), strict=True):
        run = mint.start_run("bd", "bd-1", msgspec.structs.replace(RUN, binding=key))
        later = mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
        for answer in (run, later):
            assert read_claims(answer.access_token).cnf == key
            assert answer.token_type == shown
        assert introspection(read_claims(later.access_token), "").cnf == key


def test_a_person_stands_behind_a_run_and_all_below_it(mint: TokenService) -> None:
    """Each token says for whom, and who acts: the orchestrator, and each agent to the holder."""
    proven = msgspec.structs.replace(RUN, subject=ProvenSubject("corp:ada"))
    run = mint.start_run("bd", "bd-1", proven)
    child = mint.spawn("bd", "bd-1", run.access_token, CHILD)
    below = mint.spawn("bd", "bd-1", child.access_token, msgspec.structs.replace(CHILD, role="r"))
    later = mint.refresh("bd", "bd-1", below.access_token, TokenRequest())
    assert run.issued_token_type.endswith(":jwt")
    assert {each.subject for each in (run, child, below, later)} == {"corp:ada"}
    shown = introspection(read_claims(later.access_token), "Ada's team")
    assert (shown.sub, shown.sponsor) == ("corp:ada", "Ada's team")
    assert msgspec.to_builtins(shown.act) == {
        "sub": "r", "act": {"sub": "researcher", "act": {"sub": "bd/bd-1"}}
    }  # fmt: skip
    own = mint.start_run("bd", "bd-1", RUN)
    assert (own.subject, own.issued_token_type) == ("", "")
    assert read_claims(own.access_token).act is None
    assert (
        msgspec.to_builtins(introspection(read_claims(own.access_token), ""))
        .keys()
        .isdisjoint({"act", "sponsor"})
    )


def test_a_revoked_subject_gets_no_token(mint: TokenService, machine: Machine) -> None:
    """No further one and no run, in this crew or in all; a remote orchestrator marks its branch."""
    run = mint.start_run("bd", "bd-1", msgspec.structs.replace(RUN, subject="user:ada"))
    machine.revoke(EntityKind.SUBJECT, "", b"user:ada")
    with pytest.raises(BranchRevokedError):
        mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
    with pytest.raises(IssuerError, match="subject 'user:ada' was revoked"):
        mint.start_run("bd", "bd-1", msgspec.structs.replace(RUN, subject="user:ada"))
    mint.start_run("bd", "bd-1", msgspec.structs.replace(RUN, subject="user:adam"))


def test_nobody_mints_faster_than_anybody_needs(
    mint: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each grant is a line that is kept; another orchestrator is not held back by it."""
    monkeypatch.setattr(limits, "tokens_burst", 3)
    monkeypatch.setattr(limits, "tokens_per_second", 1e-3)  # however slow the machine is
    for _ in range(3):
        mint.start_run("bd", "bd-1", RUN)
    with pytest.raises(ControlError, match="tokens a second") as caught:
        mint.start_run("bd", "bd-1", RUN)
    assert (caught.value.status, caught.value.slug) == (429, "slow-down")
    mint.start_run("bd", "bd-2", RUN)


def test_the_minting_watch_counts_each_grant(mint: TokenService, machine: Machine) -> None:
    """A run, a child and an extension, before anybody has the token."""
    run, child = family(mint)
    mint.refresh("bd", "bd-1", child.access_token, TokenRequest())
    assert machine.counted == [run.branch, child.branch, child.branch]


def test_what_the_minting_watch_holds_back_is_nobody_s(
    mint: TokenService, machine: Machine
) -> None:
    """A refusal that may end; the branch that nobody has holds none of its parent's credits."""
    run = mint.start_run("bd", "bd-1", RUN)
    machine.holds_back = True
    for _ in range(5):
        with pytest.raises(ControlError, match="holds bd/bd-1 back") as caught:
            mint.spawn("bd", "bd-1", run.access_token, CHILD)
        assert (caught.value.status, caught.value.slug) == (503, "temporarily-unavailable")
    machine.holds_back = False
    for _ in range(4):
        mint.spawn("bd", "bd-1", run.access_token, CHILD)


@pytest.mark.parametrize(
    "wish",
    [
        TokenRequest(("embeddings.create",), "1", "r"),  # outside the crew
        TokenRequest(("publish.post",), "1", "r"),  # outside the parent
        TokenRequest(("search.*", "publish.*"), "1", "r"),
        TokenRequest(("search.web",), "10.000001", "r"),  # more than the parent
    ],
)
def test_a_child_is_within_its_parent_and_its_crew(mint: TokenService, wish: TokenRequest) -> None:
    """Tools and credits; nothing is minted otherwise."""
    run = mint.start_run("bd", "bd-1", RUN)
    with pytest.raises(ScopeError):
        mint.spawn("bd", "bd-1", run.access_token, wish)


def test_the_crew_s_ceiling_holds_for_a_run(mint: TokenService) -> None:
    """credits_per_branch and tools."""
    for wish in (TokenRequest(("search.*",), "100.1", "r"), TokenRequest(("*.x",), "1", "r")):
        with pytest.raises(IssuerError):
            mint.start_run("bd", "bd-1", wish)


def test_children_fit_in_what_the_parent_has_not_spent(
    mint: TokenService, machine: Machine
) -> None:
    """Their credits together, and what the gateways have seen the parent spend."""
    run, _ = family(mint)
    with pytest.raises(ScopeError):
        mint.spawn("bd", "bd-1", run.access_token, TokenRequest(("search.web",), "7.6", "r"))
    row = BranchResponse(crew="bd", branch=run.branch, state="live", spent_micro=5_000_000)
    machine.rows = [row]
    with pytest.raises(ScopeError):
        mint.spawn("bd", "bd-1", run.access_token, TokenRequest(("search.web",), "2.6", "r"))
    mint.spawn("bd", "bd-1", run.access_token, TokenRequest(("search.web",), "2.5", "r"))


def test_another_orchestrator_s_branch_is_not_touched(mint: TokenService) -> None:
    """Not of another crew, and not of another name in the same crew: no child, no refresh."""
    run, child = family(mint)
    for crew, name in (("bd", "bd-2"), ("finance", "fin-1")):
        for token in (run.access_token, child.access_token):
            with pytest.raises(IssuerError):
                mint.spawn(crew, name, token, CHILD)
            with pytest.raises(IssuerError):
                mint.refresh(crew, name, token, TokenRequest())


def test_a_token_that_was_not_minted_here_gets_none_by_it(
    mint: TokenService, config: Config
) -> None:
    """A crew's own key may say what it likes: this journal knows the branch, or it does not."""
    other = Orchestrator.from_config(config.path, crew="finance", name="fin-9")
    with other:
        token = other.start_run(credits="1", tools=["search.*"]).token()
    with pytest.raises(IssuerError):
        mint.refresh("finance", "fin-1", token, TokenRequest())
    for garbage in ("", "x", "a.b.c", token[:-4] + "AAAA", "\ud800"):
        with pytest.raises(IssuerError):
            mint.spawn("finance", "fin-9", garbage, CHILD)


@pytest.mark.parametrize(
    "kind",
    [EntityKind.BRANCH, EntityKind.GRANT, EntityKind.ORCHESTRATOR, EntityKind.KEY, EntityKind.CREW],
)
def test_what_is_revoked_gets_no_further_token(
    mint: TokenService, machine: Machine, kind: EntityKind
) -> None:
    """By whatever it names; nor a child, whose ancestor it would be.

    The error says whether the branch is revoked, or only tokens of it that were issued until now.
    """
    run, child = family(mint)
    names = {
        EntityKind.BRANCH: uuid_bytes(run.branch),
        EntityKind.GRANT: run.grant.encode(),
        EntityKind.ORCHESTRATOR: b"bd/bd-1",
        EntityKind.KEY: b"bd-1",
        EntityKind.CREW: b"",
    }
    machine.revoke(kind, "bd", names[kind])
    error = BranchRevokedError if kind is EntityKind.BRANCH else IssuerError
    with pytest.raises(IssuerError, match="was revoked") as refresh:
        mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
    with pytest.raises(IssuerError, match="was revoked") as spawn:
        mint.spawn("bd", "bd-1", run.access_token, CHILD)
    assert (type(refresh.value), type(spawn.value)) == (error, error)
    if kind is EntityKind.BRANCH:
        with pytest.raises(BranchRevokedError, match="was revoked"):
            mint.refresh("bd", "bd-1", child.access_token, TokenRequest())


def test_an_orchestrator_in_its_next_life_raises_nobody(
    mint: TokenService, machine: Machine
) -> None:
    """All its tokens until now are dead: a refresh of one would be a token from now."""
    run, _ = family(mint)
    machine.revoke(EntityKind.ORCHESTRATOR, "bd", b"bd/bd-1", before=int(time.time()) + 5)
    with pytest.raises(IssuerError):
        mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
    mint.start_run("bd", "bd-1", RUN)


@pytest.mark.parametrize("why", ["away", "stale", "not synced"])
def test_while_nobody_knows_what_is_dead_nothing_is_extended(
    mint: TokenService, machine: Machine, why: str
) -> None:
    """The agent is away, or others may know more than it does: a refresh and a child wait."""
    run, _ = family(mint)
    machine.away = why == "away"
    if why != "away":
        machine.table.extend_freshness(*((1, ALWAYS_NS) if why == "stale" else (ALWAYS_NS, 1)))
    with pytest.raises(ServiceConnectionError):
        mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
    with pytest.raises(ServiceConnectionError):
        mint.spawn("bd", "bd-1", run.access_token, CHILD)


def test_an_expired_token_is_refreshed_for_a_while(
    mint: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent may have slept, but no longer than a death is remembered; no child of it."""
    run = mint.start_run("bd", "bd-1", RUN)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    with pytest.raises(IssuerError, match="expired"):
        mint.spawn("bd", "bd-1", run.access_token, CHILD)
    mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
    monkeypatch.setattr(time, "time", lambda: now + 1000 + limits.revocation_seconds / 2)
    with pytest.raises(IssuerError, match="too long ago"):
        mint.refresh("bd", "bd-1", run.access_token, TokenRequest())


def test_another_process_with_the_journal_is_named(mint: TokenService, config: Config) -> None:
    """One process at a time is an orchestrator; once it has ended, the next one is."""
    with (
        Orchestrator.from_config(config.path, crew="bd", name="bd-1"),
        pytest.raises(JournalLockedError),
    ):
        mint.start_run("bd", "bd-1", RUN)
    mint.start_run("bd", "bd-1", RUN)


def test_a_crew_without_a_key_here_is_refused_by_name(mint: TokenService) -> None:
    """As OAuth says it: this client may not, whatever it asks for."""
    with pytest.raises(ControlError) as refused:
        mint.start_run("keyless", "k-1", RUN)
    assert refused.value.slug == "unauthorized-client"
    with pytest.raises(ControlError) as unknown:
        mint.start_run("nobody", "n-1", RUN)
    assert unknown.value.slug == "invalid-request"


def test_keys_are_taken_as_they_are_now(mint: TokenService, config: Config, tmp_path: Path) -> None:
    """A rotated key signs the next token, and one that is bound to another name does not."""
    old = mint.start_run("bd", "bd-1", RUN)
    add_crew(config.path.parent, "bd", kid="bd-new")
    new = mint.start_run("bd", "bd-1", RUN)
    header = json.loads(_decoded(new.access_token.split(".")[0]))
    assert header["kid"] == "bd-new"
    with pytest.raises(IssuerError, match="no key"):
        mint.refresh("bd", "bd-1", old.access_token, TokenRequest())
    add_crew(config.path.parent, "bd", kid="bd-own", orchestrator="bd/bd-9")
    with pytest.raises(ControlError) as refused:
        mint.start_run("bd", "bd-1", RUN)
    assert refused.value.slug == "unauthorized-client"


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_branch_outlives_its_open_journal(
    mint: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many names are minted for: the longest unused journal is closed, and read again."""
    monkeypatch.setattr(limits, "orchestrators_max", 2)
    run = mint.start_run("bd", "bd-1", RUN)
    for number in range(2, 5):
        mint.start_run("bd", f"bd-{number}", RUN)
    assert len(mint._orchestrators) == 2
    mint.refresh("bd", "bd-1", run.access_token, TokenRequest())
