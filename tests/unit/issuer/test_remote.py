"""An orchestrator whose gateway signs for it: what it keeps, and does while that is away."""

import pytest
from crew_world import World

from crewgate.core.credits import format_credits
from crewgate.core.tokens.subjects import ProvenSubject
from crewgate.errors import (
    BranchRevokedError,
    ControlError,
    ExtensionRefusedError,
    IssuerError,
    JournalLockedError,
    ScopeError,
    ServiceConnectionError,
    ServiceRefusedError,
)
from crewgate.issuer import Confirmation, RevocationReceipt
from crewgate.issuer.control_api.remote_issuer_client import issuer_error, revocation_error
from crewgate.issuer.inspection import read_claims
from crewgate.issuer.mint import MintedToken
from crewgate.issuer.remote import RemoteOrchestrator

BINDING = Confirmation(jkt="A" * 43, x5t="B" * 42 + "A")
NEXT = "0199c1d2-0000-7000-8000-00000000000a"


class Away:
    """An API that signs what it is asked for, or is away."""

    def __init__(self) -> None:
        self.world = World.make()
        self.now = float(self.world.now)
        self.is_away = False
        self.revoked = ""
        self.refusal: IssuerError | None = None
        self.asked: list[dict[str, str]] = []
        self.ended: list[tuple[str, str]] = []

    def token(self, form: dict[str, str]) -> MintedToken:
        if self.is_away:
            raise ServiceConnectionError("no answer in time")
        self.asked.append(form)
        shown = form.get("refresh_token") or form.get("subject_token")
        last = read_claims(shown) if shown else None
        if last is not None and last.execution_branch_id == self.revoked:
            raise BranchRevokedError("it was revoked")
        if shown and self.refusal is not None:
            raise self.refusal
        changes: dict[str, object] = {"iat": int(self.now), "exp": int(self.now) + 900}
        if last is not None and "refresh_token" in form:
            changes["execution_branch_id"] = last.execution_branch_id
        token = self.world.mint(**changes).decode()
        return MintedToken(token, read_claims(token))

    def revoke(self, branch: str, crew: str, reason: str = "") -> RevocationReceipt:
        if self.is_away:
            raise ServiceConnectionError("no answer in time")
        self.ended.append((branch, crew))
        return RevocationReceipt(
            machines_applied=1,
            machines_total=1,
            machines_missing=(),
            is_complete=True,
            elapsed_ms=1.0,
            calls_cut=0,
            is_whole_crew=False,
            is_known=True,
        )

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def api() -> Away:
    return Away()


@pytest.fixture
def orchestrator(api: Away) -> RemoteOrchestrator:
    return RemoteOrchestrator(api, clock=lambda: api.now)  # type: ignore[arg-type]


def test_a_token_is_asked_for_when_it_is_due(api: Away, orchestrator: RemoteOrchestrator) -> None:
    """Not before; the last one is shown for the next."""
    run = orchestrator.start_run(credits="1", tools=["search.*"], process_id="p")
    first = run.token()
    assert api.asked == [{
        "grant_type": "client_credentials", "scope": "search.*", "credits": "1.00",
        "role": "orchestrator", "process": "p",
    }]  # fmt: skip
    api.now += 700
    assert run.token() != first
    assert api.asked[-1] == {"grant_type": "refresh_token", "refresh_token": first}


def test_while_the_api_is_away_a_token_lasts_to_its_end(
    api: Away, orchestrator: RemoteOrchestrator
) -> None:
    """And then it is said that the API cannot be asked."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    first = run.token()
    api.is_away, api.now = True, api.now + 700
    assert run.token() == first
    api.now += 200
    with pytest.raises(ServiceConnectionError):
        run.token()


def test_a_branch_is_dead_here_whatever_the_api_says(
    api: Away, orchestrator: RemoteOrchestrator
) -> None:
    """The caller revokes again until the API has heard; branches below die with it."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    api.is_away = True
    with pytest.raises(ServiceConnectionError):
        run.revoke()
    with pytest.raises(BranchRevokedError, match="was revoked"):
        run.token()
    api.is_away = False
    orchestrator.revoke(run)
    orchestrator.revoke(NEXT)
    assert api.ended == [(run.branch, "article"), (NEXT, "")]


def test_a_branch_that_was_revoked_elsewhere_has_no_token_from_the_next_renewal_on(
    api: Away, orchestrator: RemoteOrchestrator
) -> None:
    """Although the last token has not expired; the API is asked once."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    first, api.revoked = run.token(), run.branch
    assert run.token() == first
    api.now += 700
    for _ in range(2):
        with pytest.raises(BranchRevokedError, match="was revoked"):
            run.token()
    with pytest.raises(BranchRevokedError):
        orchestrator.agent(run.branch)
    assert [each["grant_type"] for each in api.asked] == ["client_credentials", "refresh_token"]


def test_a_parent_that_was_revoked_elsewhere_is_known_from_the_next_child_on(
    api: Away, orchestrator: RemoteOrchestrator
) -> None:
    """The API says so of the token that is shown for the parent."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    run.token()
    api.revoked = run.branch
    for _ in range(2):
        with pytest.raises(BranchRevokedError, match="was revoked"):
            orchestrator.spawn(role="r", parent=run, tools=["search.web"], credits="1")
    with pytest.raises(BranchRevokedError):
        run.token()


def test_a_token_that_was_revoked_alone_is_kept_and_the_log_promises_nothing(
    api: Away, orchestrator: RemoteOrchestrator, caplog: pytest.LogCaptureFixture
) -> None:
    """The branch is not revoked then; the API only exchanges no revoked token."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    first = run.token()
    api.refusal, api.now = IssuerError("that token was revoked"), api.now + 700
    assert run.token() == first
    (message,) = caplog.messages
    assert message == (
        f"branch {run.branch}: could not renew the token; the last one is used until it expires: "
        "that token was revoked"
    )
    api.now += 200
    with pytest.raises(IssuerError, match="that token was revoked"):
        run.token()


def test_what_the_api_does_not_do_is_refused(orchestrator: RemoteOrchestrator) -> None:
    """And not left out without a word."""
    with pytest.raises(IssuerError, match="pass the token as subject_token"):
        orchestrator.start_run(credits="1", tools=["search.*"], subject=ProvenSubject("corp:ada"))
    with pytest.raises(IssuerError, match="overcommit"):
        orchestrator.refresh(NEXT, overcommit=True)


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (400, "invalid_scope", ScopeError),
        (409, "temporarily_unavailable", JournalLockedError),
        (400, "invalid_grant", IssuerError),
        (400, "invalid-scope", ScopeError),
        (400, "invalid-grant", IssuerError),
        (400, "no-further-token", BranchRevokedError),
        (400, "extension-refused", ExtensionRefusedError),
        (503, "journal-unavailable", ServiceConnectionError),
        (503, "agent-unavailable", ServiceConnectionError),
        (429, "too-many-requests", ServiceConnectionError),
    ],
)
def test_errors_are_those_of_one_with_a_key(status: int, slug: str, kind: type[Exception]) -> None:
    """Code that catches them works the same wherever the key is."""
    assert type(issuer_error(ControlError(status, slug, "said"))) is kind


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (503, "agent-unavailable", ServiceConnectionError),
        (429, "too-many-requests", ServiceConnectionError),
        (409, "refused", ServiceRefusedError),
        (403, "not-permitted", ServiceRefusedError),
    ],
)
def test_a_revocation_that_may_be_done_later_is_told_apart(
    status: int, slug: str, kind: type[Exception]
) -> None:
    """Who revokes again on a ServiceConnectionError does it when that can help, and only then."""
    assert type(revocation_error(ControlError(status, slug, "said"))) is kind


def test_a_refused_renewal_is_not_asked_for_with_each_call(
    api: Away, orchestrator: RemoteOrchestrator, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway would refuse again, and write a line each time; a person may raise the limit."""
    run = orchestrator.start_run(credits="1", tools=["search.*"])
    first = run.token()
    api.refusal, api.now = ExtensionRefusedError("extensions_max is 0"), api.now + 700
    assert [run.token() for _ in range(3)] == [first] * 3
    assert (len(api.asked), len(caplog.messages)) == (2, 1)
    api.refusal, api.now = None, api.now + 61
    assert run.token() != first


def test_an_extension_is_decided_here_or_by_the_gateway(api: Away) -> None:
    """The form says who has decided, what is asked for in all, and why."""
    for decide, decision in ((None, "policy"), (lambda request: True, "callback")):
        orchestrator = RemoteOrchestrator(api, clock=lambda: api.now, decide=decide)  # type: ignore[arg-type]
        run = orchestrator.start_run(credits="1", tools=["search.*"], seconds=3600)
        assert api.asked[-1]["seconds"] == "3600"
        result = run.request_extension(
            more_seconds=60, more_credits="2", more_tools=["publish.post"], reason="more pages"
        )
        assert (result.is_granted, result.decided_by) == (True, decision)
        asked = {key: text for key, text in api.asked[-1].items() if key != "refresh_token"}
        assert asked == {
            "grant_type": "refresh_token",
            "credits": format_credits(run.claims.credit_quota + 2_000_000),
            "scope": " ".join([*run.claims.allowed_tools, "publish.post"]),
            "seconds": "60",
            "reason": "more pages",
            "decided_by": decision,
        }
    no = RemoteOrchestrator(api, decide=lambda request: False)  # type: ignore[arg-type]
    run, count = no.start_run(credits="1", tools=["search.*"]), len(api.asked)
    assert not run.request_extension(more_seconds=60).is_granted
    assert len(api.asked) == count


def test_the_gateway_is_asked_to_bind_a_new_branch() -> None:
    api = Away()
    orchestrator = RemoteOrchestrator(api, clock=lambda: api.now)  # type: ignore[arg-type]
    run = orchestrator.start_run(credits="1", tools=["search.*"], binding=BINDING)
    run.spawn(role="r", tools=["search.*"], credits="1", binding=BINDING)
    run.spawn(role="r", tools=["search.*"], credits="1")
    fields = [(form.get("dpop_jkt"), form.get("x5t_s256")) for form in api.asked]
    assert fields == [(BINDING.jkt, BINDING.x5t)] * 2 + [(None, None)]
