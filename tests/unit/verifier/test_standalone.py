"""A verifier with a table of its own: what a single process and a test need."""

import threading
from typing import Any

import pytest
from crew_world import AUDIENCE, BRANCH, CREW, PARENT, ROOT, World
from embedded import PRICES, crew_of, denied, in_child, permitted, standalone

from crewgate import Denial, Permit, Reason, StandaloneVerifier, Verifier
from crewgate.errors import (
    AlreadySettledError,
    ConfigurationError,
    ForkedError,
    ServiceRefusedError,
)
from crewgate.leases.lease_client import DrawResult, LeaseClient

OTHER = "0199c1d2-0000-7000-8000-0000000000aa"


def test_a_price_is_settled_in_the_verdict_itself() -> None:
    """An embedder's permit holds nothing; what is left is the lease less the price."""
    world = World.make()
    with standalone(world) as verifier:
        permit = permitted(verifier.decide(world.token, "search.web"))
        assert (permit.price_micro, permit.has_reservation) == (10, False)
        assert permit.grant.branch == BRANCH


def test_a_branch_spends_its_quota_and_no_more() -> None:
    """2.50 credits' worth in small: the fourth call of 10 on 35 is refused, with the account."""
    world = World.make()
    token = world.mint(credit_quota=35)
    with standalone(world) as verifier:
        verdicts = [verifier.decide(token, "search.web") for _ in range(5)]
    assert [type(verdict) for verdict in verdicts] == [Permit, Permit, Permit, Denial, Denial]
    last = denied(verdicts[-1])
    assert (last.reason, last.level) == (Reason.CREDITS_EXHAUSTED, BRANCH)
    assert (last.used_micro, last.quota_micro, last.retry) == (30, 35, False)


def test_calls_may_be_limited() -> None:
    """A call beyond a limit is refused, says when to try again, and costs nothing."""
    world = World.make()
    limits: dict[str, dict[str, object]] = {"slow": {"per": "branch", "calls": 2, "seconds": 3600}}
    token, sibling = world.mint(credit_quota=35), world.mint(execution_branch_id=OTHER)
    with standalone(world, limits=limits) as verifier:
        permitted(verifier.decide(token, "search.web")).release()
        for _ in range(2):
            permitted(verifier.decide(token, "search.web"))
        denial = denied(verifier.decide(token, "search.web"))
        permitted(verifier.decide(sibling, "search.web"))
    assert denial.reason is Reason.RATE_LIMITED
    assert denial.limit is not None
    assert (denial.limit.name, denial.limit.left_seconds) == ("slow", 1800)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"per": "branch", "concurrent": 2}, "limits.slow.concurrent: a verifier does not know"),
        ({"per": "crew", "calls": 1, "tools": ["serch.web"]}, 'limits.slow.tools: "serch.web" cov'),
        ({"per": "crew", "calls": 1, "crew": "ops"}, 'limits.slow.crew = "ops": no such crew'),
        ({"calls": 1}, "limits.slow.per: missing"),
    ],
)
def test_a_limit_that_a_verifier_cannot_keep_is_refused(
    limit: dict[str, object], words: str
) -> None:
    """At once, and not at the first call."""
    with pytest.raises(ConfigurationError, match=words):
        standalone(World.make(), limits={"slow": limit})


def test_an_exhausted_branch_leaves_its_sibling_alone() -> None:
    """Surgical: the sibling of a branch that has spent everything goes on."""
    world = World.make()
    token = world.mint(credit_quota=0)
    sibling = world.mint(execution_branch_id=OTHER)
    with standalone(world) as verifier:
        assert denied(verifier.decide(token, "search.web")).reason is Reason.CREDITS_EXHAUSTED
        permitted(verifier.decide(sibling, "search.web"))
        permitted(verifier.decide(token, "free.ping"))


def test_release_gives_the_price_back_once() -> None:
    """A call that never reached its tool costs nothing, and is not given back twice."""
    world = World.make()
    token = world.mint(credit_quota=10)
    with standalone(world) as verifier:
        permit = permitted(verifier.decide(token, "search.web"))
        permit.release()
        with pytest.raises(AlreadySettledError):
            permit.release()
        permitted(verifier.decide(token, "search.web"))
        assert denied(verifier.decide(token, "search.web")).reason is Reason.CREDITS_EXHAUSTED


def test_a_lower_cost_gives_the_rest_back() -> None:
    """`settle(cost)` charges the cost; more than the price charges the price."""
    world = World.make()
    token = world.mint(credit_quota=14)
    with standalone(world) as verifier:
        permitted(verifier.decide(token, "search.web")).settle(4)
        permitted(verifier.decide(token, "search.web")).settle(99)
        denial = denied(verifier.decide(token, "search.web"))
        assert (denial.used_micro, denial.quota_micro) == (14, 14)


async def test_a_call_may_have_a_cost_of_its_own() -> None:
    """At most so much, however it is asked; what it did not cost returns."""
    world = World.make()
    token = world.mint(credit_quota=40)
    with standalone(world) as verifier:
        permitted(verifier.decide(token, "search.web", cost_micro=30)).settle(12)
        permitted(await verifier.admit(token, "search.web", cost_micro=20)).settle(8)
        permitted(verifier.admit_blocking(token, "search.web", cost_micro=20))
        denial = denied(verifier.decide(token, "search.web", cost_micro=1))
        assert (denial.used_micro, denial.quota_micro, denial.need_micro) == (40, 40, 1)
        assert denied(verifier.admit_blocking(token, "search.web")).need_micro == 10


@pytest.mark.parametrize("token", ["good", "bad"])
@pytest.mark.parametrize(
    ("cost", "error", "words"),
    [
        (-1, ValueError, "cost_micro=-1: a call costs 0 to"),
        (2**60, ValueError, "cost_micro=1152921504606846976: a call costs 0 to"),
        (0.5, TypeError, "cost_micro=0.5: pass an integer of micro-credits"),
        ("1", TypeError, "cost_micro='1': pass an integer of micro-credits"),
    ],
)
async def test_a_cost_that_no_call_has_is_an_error_of_the_program(
    token: str, cost: Any, error: type[Exception], words: str
) -> None:
    """Whatever the token: a mistake shows with the first call, and not with the first good one."""
    world = World.make()
    shown = world.token if token == "good" else "a.b.c"
    with standalone(world) as verifier:
        for judge in (verifier.decide, verifier.admit_blocking):
            with pytest.raises(error, match=words):
                judge(shown, "search.web", cost_micro=cost)
        with pytest.raises(error, match=words):
            await verifier.admit(shown, "search.web", cost_micro=cost)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, Reason.MISSING_TOKEN),
        ("", Reason.INVALID_TOKEN),
        (b"", Reason.INVALID_TOKEN),
        ("a.b.c", Reason.INVALID_TOKEN),
        ("é.é.é", Reason.INVALID_TOKEN),
        ("\ud800", Reason.INVALID_TOKEN),
        ("a" * 1_000_000, Reason.INVALID_TOKEN),
        (b"\xff" * 5000, Reason.INVALID_TOKEN),
        (7, Reason.INVALID_TOKEN),
        (bytearray(b"a.b.c"), Reason.INVALID_TOKEN),
        (["a.b.c"], Reason.INVALID_TOKEN),
    ],
)
def test_bad_input_is_refused_and_never_raised(token: Any, reason: Reason) -> None:
    """Whatever an embedder passes on from a stranger, the answer is a verdict."""
    with standalone(World.make()) as verifier:
        assert denied(verifier.decide(token, "search.web")).reason is reason
        assert denied(verifier.admit_blocking(token, "search.web")).reason is reason


@pytest.mark.parametrize("tool", ["no.such", "", None, 7, ["search.web"], {}, "search.web\0"])
def test_a_tool_that_does_not_exist_is_said_to_the_token_s_owner_only(tool: Any) -> None:
    """Judged last: a stranger learns nothing about which tools there are."""
    world = World.make()
    with standalone(world) as verifier:
        assert denied(verifier.decide(world.token, tool)).reason is Reason.UNKNOWN_TOOL
        assert denied(verifier.admit_blocking(world.token, tool)).reason is Reason.UNKNOWN_TOOL
        assert denied(verifier.decide("a.b.c", tool)).reason is Reason.INVALID_TOKEN


def test_text_and_bytes_are_one_token() -> None:
    """A token may come as a header's bytes or as a framework's text."""
    world = World.make()
    with standalone(world) as verifier:
        permitted(verifier.decide(world.token, "search.web"))
        permitted(verifier.decide(world.token.decode(), "search.web"))


def test_defaults_that_apply_when_nothing_is_given() -> None:
    """No tools, a lifetime of 900 s, eight ancestors; other ceilings do not apply."""
    world = World.make()
    crew = {CREW: {name: value for name, value in crew_of(world).items() if name != "tools"}}
    with Verifier.standalone(audience=AUDIENCE, tools=PRICES, crews=crew) as verifier:
        assert denied(verifier.decide(world.token, "search.web")).reason is Reason.TOOL_NOT_ALLOWED
    with standalone(world) as verifier:
        permitted(verifier.decide(world.mint(credit_quota=2**52), "search.web"))
        long = world.mint(exp=world.now + 901)
        assert denied(verifier.decide(long, "search.web")).reason is Reason.TOKEN_LIFETIME


def test_ceilings_of_a_crew_hold() -> None:
    """The same keys as in a file: credits a branch, depth, lifetime."""
    world = World.make()
    with standalone(world, credits_per_branch="0.00001", depth=2, lifetime_seconds=900) as verifier:
        assert permitted(verifier.decide(world.token, "search.web")).grant.quota == 10
        assert denied(verifier.decide(world.token, "search.web")).reason is Reason.CREDITS_EXHAUSTED
    with standalone(world, depth=1) as verifier:
        assert denied(verifier.decide(world.token, "search.web")).reason is Reason.TOKEN_CEILING


def test_a_crew_in_observe_mode_is_never_refused_for_credit_or_scope() -> None:
    """The reason is told, the call goes on uncharged; bad credentials are refused all the same."""
    world = World.make()
    token = world.mint(credit_quota=0, allowed_tools=["embeddings.create"])
    with standalone(world, mode="observe") as verifier:
        scoped = permitted(verifier.decide(token, "search.web"))
        assert (scoped.observed_reason, scoped.price_micro) == (Reason.TOOL_NOT_ALLOWED, 0)
        broke = permitted(verifier.decide(token, "embeddings.create"))
        assert broke.observed_reason is Reason.CREDITS_EXHAUSTED
        assert denied(verifier.decide(token[:-4], "search.web")).reason is Reason.INVALID_TOKEN


@pytest.mark.parametrize("target", [BRANCH, PARENT, ROOT])
def test_revoking_a_branch_ends_it_and_everything_below(target: str) -> None:
    """Seen or unseen; the sibling under another root goes on, and a running call hears of it."""
    world = World.make()
    stranger = world.mint(execution_branch_id=OTHER, branch_path=[])
    with standalone(world) as verifier:
        permit = permitted(verifier.decide(world.token, "free.ping"))
        verifier.revoke(target)
        assert permit.revoked
        denial = denied(verifier.decide(world.token, "search.web"))
        assert (denial.reason, denial.retry) == (Reason.BRANCH_REVOKED, False)
        permitted(verifier.decide(stranger, "search.web"))


def test_revoking_names_the_crew_where_it_is_not_plain() -> None:
    """Two crews may have a branch of the same id; one of them is meant."""
    world = World.make(crews=(CREW, "finance"))
    finance = world.mint("finance")
    with standalone(world) as verifier:
        with pytest.raises(ServiceRefusedError, match="belong to several crews: pass crew="):
            verifier.revoke(BRANCH)
        permitted(verifier.decide(finance, "search.web"))
        verifier.revoke(BRANCH)  # only finance's has been seen
        assert denied(verifier.decide(finance, "search.web")).reason is Reason.BRANCH_REVOKED
        permitted(verifier.decide(world.token, "search.web"))
        verifier.revoke(BRANCH, crew=CREW)
        assert denied(verifier.decide(world.token, "search.web")).reason is Reason.BRANCH_REVOKED


def test_revocations_over_the_crew_s_share_coarsen() -> None:
    """Over its share a crew loses all its tokens issued before now, and no other crew loses any."""
    world = World.make(crews=(CREW, "finance"))
    with standalone(world, live_revocations=1) as verifier:
        verifier.revoke(OTHER, crew=CREW)
        permitted(verifier.decide(world.token, "search.web"))
        verifier.revoke(ROOT[:-1] + "9", crew=CREW)
        assert denied(verifier.decide(world.token, "search.web")).reason is Reason.BRANCH_REVOKED
        permitted(verifier.decide(world.mint("finance"), "search.web"))


@pytest.mark.parametrize(
    ("branch", "crew", "words"),
    [("nonsense", "", "not a branch id"), (BRANCH, "nobody", "no crew 'nobody'")],
)
def test_a_revocation_that_names_nothing_is_an_error(branch: str, crew: str, words: str) -> None:
    """A slip must not look like a kill."""
    with standalone(World.make()) as verifier, pytest.raises(ServiceRefusedError, match=words):
        verifier.revoke(branch, crew=crew)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audience": "a b"}, "audience"),
        ({"tools": {"search.web": 0.01}}, r'tools\."search.web" = 0.01: expected credits'),
        ({"tools": {"search web": "0.01"}}, "the name 'search web'"),
        ({"tools": ["search.web"]}, r'tools = \["search.web"\]: expected a dict$'),
        ({"crews": {"article": {}}}, "crews.article.issuer: missing"),
        ({"crews": {"article": 7}}, "crews.article = 7: expected a dict$"),
        ({"crews": 7}, "crews = 7: expected a dict$"),
        ({"crews": {"Article": {}}}, "the name 'Article'"),
    ],
)
def test_what_is_given_is_read_like_a_file(changes: dict[str, Any], words: str) -> None:
    """Each mistake is named with its place, its value and what was expected."""
    given: dict[str, Any] = {"audience": AUDIENCE, "tools": PRICES, "crews": {}, **changes}
    with pytest.raises(ConfigurationError, match=words):
        Verifier.standalone(**given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depht": 3}, 'unknown key; did you mean "depth"'),
        ({"depth": 9}, "depth = 9: expected a whole number from 0 to 8"),
        ({"keys": "x"}, "a JWKS as a dict"),
        ({"keys": {"keys": [{"kty": "OKP", "d": "secret", "kid": "k"}]}}, "private key"),
        ({"tools": ("*",)}, "crews.article.tools"),
    ],
)
def test_a_crew_is_read_like_a_file(options: dict[str, Any], words: str) -> None:
    """A misspelt ceiling is no ceiling, so it is refused; so is a private key."""
    with pytest.raises(ConfigurationError, match=words):
        standalone(World.make(), **options)


def test_a_kid_of_two_crews_is_refused() -> None:
    """A key is found by its kid alone, so it must name one key among all crews."""
    world = World.make()
    crews = {"article": crew_of(world), "finance": crew_of(world)}
    with pytest.raises(ConfigurationError, match="both have a key article-1"):
        Verifier.standalone(audience=AUDIENCE, tools=PRICES, crews=crews)


def test_a_key_that_is_no_point_is_refused() -> None:
    """Anyone could sign under a point of low order."""
    key = {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "A" * 43}
    with pytest.raises(ConfigurationError, match="not a point of the prime-order group"):
        standalone(World.make(), keys={"keys": [key]})


def test_threads_share_one_budget_exactly() -> None:
    """Eight threads on fifty calls' credit admit fifty, cold and warm, whoever draws."""
    world = World.make()
    token = world.mint(credit_quota=500)
    admitted: list[int] = []
    with standalone(world) as verifier:

        def spend() -> None:
            verdicts = [verifier.decide(token, "search.web") for _ in range(40)]
            admitted.append(sum(isinstance(verdict, Permit) for verdict in verdicts))

        threads = [threading.Thread(target=spend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(admitted) == 50


def test_siblings_under_a_tight_parent_admit_its_cap() -> None:
    """Twenty siblings that may spend ten calls each admit the twelve of their parent."""
    world = World.make()
    path = [{"id": ROOT, "credit_quota": 120, "iat": world.now}]
    tokens = [
        world.mint(
            execution_branch_id=f"{OTHER[:-2]}{number:02x}", branch_path=path, credit_quota=100
        )
        for number in range(1, 21)
    ]
    with standalone(world) as verifier:
        verdicts = [verifier.decide(token, "search.web") for _ in range(10) for token in tokens]
        assert sum(isinstance(verdict, Permit) for verdict in verdicts) == 12
        assert denied(verdicts[-1]).level == ROOT


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (DrawResult.CONTENDED, Reason.BUDGET_UNAVAILABLE),
        (DrawResult.FULL, Reason.TABLE_FULL),
        (DrawResult.SHARE, Reason.TABLE_FULL),
        (DrawResult.HELD, Reason.ORCHESTRATOR_HELD),
        (DrawResult.CLOSED, Reason.BRANCH_REVOKED),
        (DrawResult.MISMATCH, Reason.BINDING_MISMATCH),
    ],
)
def test_what_a_draw_finds_out_is_the_reason(
    status: DrawResult, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the gateway says it; observe mode permits only the call that lacks credit."""
    monkeypatch.setattr(LeaseClient, "draw", lambda *_: status)
    world = World.make()
    with standalone(world) as verifier:
        assert denied(verifier.decide(world.token, "search.web")).reason is reason
    with standalone(world, mode="observe") as verifier:
        verdict = verifier.admit_blocking(world.token, "search.web")
        if reason is Reason.BUDGET_UNAVAILABLE:
            assert permitted(verdict).observed_reason is reason
        else:
            assert denied(verdict).reason is reason


def test_the_sink_hears_every_verdict() -> None:
    """Once each, with the tool's name, refusals before a good signature included."""
    world = World.make()
    heard: list[tuple[str, Permit | Denial]] = []
    verifier = Verifier.standalone(
        audience=AUDIENCE,
        tools=PRICES,
        crews={CREW: crew_of(world)},
        sink=lambda tool, verdict: heard.append((tool, verdict)),
    )
    with verifier:
        given = [verifier.decide(token, "search.web") for token in (world.token, "a.b.c", None)]
        given.append(verifier.admit_blocking(world.token, "free.ping"))
    assert [verdict for _, verdict in heard] == given
    assert [tool for tool, _ in heard] == ["search.web"] * 3 + ["free.ping"]


@pytest.mark.parametrize("is_ended", [False, True], ids=["as it was", "ended by the sink"])
async def test_what_the_sink_raises_reaches_the_caller_and_costs_nothing(*, is_ended: bool) -> None:
    """A program that cannot record its calls makes none, and its branch pays for none."""

    def sink(tool: str, verdict: Permit | Denial) -> None:
        if is_ended and isinstance(verdict, Permit):
            verdict.release()
        raise OSError("the log is full")

    world = World.make()
    token = world.mint(credit_quota=10)
    verifier = Verifier.standalone(
        audience=AUDIENCE, tools=PRICES, crews={CREW: crew_of(world)}, sink=sink
    )
    with verifier:
        for shown in (token, token, "a.b.c"):
            for judge in (verifier.decide, verifier.admit_blocking):
                with pytest.raises(OSError, match="the log is full"):
                    judge(shown, "search.web")
            with pytest.raises(OSError, match="the log is full"):
                await verifier.admit(shown, "search.web")
        verifier._sink = None
        permitted(verifier.decide(token, "search.web"))


def test_only_a_standalone_verifier_revokes() -> None:
    """Whoever is attached to a machine's table may draw, and revoke nothing."""
    with standalone(World.make()) as verifier:
        assert type(verifier) is StandaloneVerifier
    assert not hasattr(Verifier, "revoke")
    assert {"revoke"} == {*dir(StandaloneVerifier)} - {*dir(Verifier)}


def test_a_closed_verifier_refuses() -> None:
    """A late call in a server that shuts down gets a 503, not an exception, and is not charged."""
    world = World.make()
    verifier = standalone(world)
    before = permitted(verifier.decide(world.token, "search.web")).branch_unspent_micro
    permits = [permitted(verifier.decide(world.token, "search.web")) for _ in range(3)]
    verifier.close()
    verifier.close()
    for decide in (verifier.decide, verifier.admit_blocking):
        for cost in (None, 1):
            denial = denied(decide(world.token, "search.web", cost_micro=cost))
            assert (denial.reason, denial.retry) == (Reason.REVOCATION_UNAVAILABLE, False)
    assert permits[0].branch_unspent_micro == before - 30
    permits[0].settle(4)
    permits[1].release()
    permits[2].settle()
    for permit in permits:
        with pytest.raises(AlreadySettledError):
            permit.settle(0)
    assert permits[0].branch_unspent_micro == before - 14
    assert not permits[0].revoked
    verifier.revoke(permits[0].grant.branch)
    assert permits[0].revoked


def test_in_a_child_after_fork_it_raises() -> None:
    """Two copies of one budget would be spent twice; the parent goes on."""
    world = World.make()
    with standalone(world) as verifier:
        permitted(verifier.decide(world.token, "search.web"))
        in_child(lambda: verifier.decide(world.token, "search.web"), raises=ForkedError)
        in_child(lambda: verifier.revoke(BRANCH), raises=ForkedError)
        in_child(verifier.close)
        permitted(verifier.decide(world.token, "search.web"))


def test_neither_token_nor_key_is_in_a_repr() -> None:
    """What a log shows of a verifier and its verdicts helps nobody to call."""
    world = World.make()
    with standalone(world) as verifier:
        permit = permitted(verifier.decide(world.token, "search.web"))
        shown = repr((verifier, verifier._source, permit)).encode()
    assert world.token.split(b".")[2] not in shown
