from typing import Any

import jwt
import msgspec
import pytest
import slow_token
import tokens

from crewgate._native import signature
from crewgate._native import token as native
from crewgate.core.policy.policy import Ceiling, CrewPolicy
from crewgate.core.tokens.claims import Confirmation, PathElement, ProvenProcess
from crewgate.errors import IssuerError, ScopeError
from crewgate.issuer import MintedToken, Minter, SigningKey, inspect_token, read_claims

NOW = 1_800_000_000.75


def root(minter: Minter, **changes: Any) -> MintedToken:
    """A root of the crew with some parameters changed."""
    parameters: dict[str, Any] = {
        "role": "orchestrator",
        "tools": ["search.*"],
        "quota": 10_000_000,
        "process": "pid_1",
        "now": NOW,
    }
    return minter.root(**{**parameters, **changes})


def child(minter: Minter, parent: MintedToken, **changes: Any) -> MintedToken:
    """A child of `parent` with some parameters changed."""
    parameters: dict[str, Any] = {
        "role": "researcher",
        "tools": ["search.web"],
        "quota": 2_500_000,
        "process": "pid_2",
        "now": NOW + 1,
    }
    return minter.child(parent.claims, **{**parameters, **changes})


def test_what_is_minted_is_accepted(minter: Minter) -> None:
    """The native code takes the token apart, and its signature is that of the key."""
    minted = child(minter, root(minter))
    kid, signing_input, payload, sig = native.split(minted.token.encode())
    assert kid == "article-1"
    assert signature.verify(tokens.PUBLIC, signing_input, sig)
    assert native.claims(payload) == minted.claims
    assert slow_token.accepts_payload(payload)


def test_header_is_exactly_three_members(minter: Minter) -> None:
    """Algorithm, type and key; nothing that a library adds by itself."""
    header = jwt.get_unverified_header(root(minter).token)
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": "article-1"}


def test_optional_claims_are_left_out(minter: Minter) -> None:
    """Neither `nbf` nor any other claim is sent as null."""
    payload = inspect_token(root(minter).token).payload
    assert isinstance(payload, dict)
    assert set(payload) == set(tokens.CLAIMS)


def test_a_root_says_who_it_is_for(minter: Minter) -> None:
    """A root has no ancestors, a fresh id, and lives the whole quarter of an hour."""
    claims = root(minter, subject="user_414").claims
    assert (claims.sub, claims.client_id) == ("user_414", "article/article-1")
    assert (claims.iat, claims.exp) == (1_800_000_000, 1_800_000_900)
    assert claims.branch_path == []
    assert root(minter).claims.execution_branch_id != root(minter).claims.execution_branch_id


def test_a_child_names_its_ancestry(minter: Minter) -> None:
    """Root first, each with the grant that the child was spawned under; the user is inherited."""
    top = root(minter, subject="user_414")
    middle = child(minter, top, tools=["search.*"])
    bottom = child(minter, middle, quota=1, now=NOW + 2)
    assert bottom.claims.sub == "user_414"
    assert bottom.claims.branch_path == [
        PathElement(top.claims.execution_branch_id, 10_000_000, 1_800_000_000),
        PathElement(middle.claims.execution_branch_id, 2_500_000, 1_800_000_001),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tools": ["publish.post"]}, "outside the tools of crew article"),
        ({"tools": []}, "a grant must name 1 to 64 tools"),
        ({"tools": ["search.a"] * 65}, "a grant must name 1 to 64 tools"),
        ({"tools": ["*"]}, "neither the name of a tool"),
        ({"tools": "search.*"}, r"tools must be a list: write \['search\.\*'\]"),
        (
            {"quota": 100_000_001},
            "^100.000001 credits: .* 0 to 100.00; ask for less, or raise credits_per_b",
        ),
        ({"quota": -1}, "^-0.000001 credits: a branch of crew article may have 0 to 100.00; ask"),
        ({"quota": 1.5}, "quota must be an integer of micro-credits, not 1.5"),
        ({"quota": "1"}, "quota must be an integer of micro-credits, not '1'"),
        ({"role": "a b"}, "role 'a b' must be"),
        ({"role": ""}, "role '' must be"),
        ({"role": "x" * 129}, "1 to 128 characters"),
        ({"process": "pid 1"}, "process 'pid 1' must be"),
        ({"subject": "user\n1"}, "subject"),
        ({"now": "x"}, "now must be wall-clock seconds since the epoch, not 'x'"),
        ({"now": float("nan")}, "now must be wall-clock seconds since the epoch, not nan"),
        ({"now": float("inf")}, "now must be wall-clock seconds since the epoch, not inf"),
        ({"lifetime": 901}, "from 1 to 900, as crew article allows, not 901"),
        ({"lifetime": 0}, "lifetime: expected a whole number of seconds from 1 to 900, .* not 0"),
        ({"lifetime": 1.5}, "whole number of seconds from 1 to 900, .* not 1.5"),
        ({"lifetime": "60"}, "whole number of seconds from 1 to 900, .* not '60'"),
        ({"tools": [f"search.{'x' * 100}{n}" for n in range(40)]}, "name fewer tools"),
    ],
)
def test_roots_beyond_the_ceilings_are_refused(
    minter: Minter, changes: dict[str, Any], said: str
) -> None:
    """Nothing is signed that gateways would refuse or count as less; the error says what to do."""
    with pytest.raises(IssuerError, match=said) as refused:
        root(minter, **changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tools": ["embeddings.create"]}, "outside the parent's tools: search"),
        ({"tools": ["search.web", "search"]}, "'search' is outside the parent's tools"),
        ({"tools": "search.web"}, r"tools must be a list: write \['search\.web'\]"),
        ({"quota": "1"}, "quota must be an integer"),
        ({"quota": 10_000_001}, "10.000001 credits are more than the parent's 10.00"),
    ],
)
def test_children_are_within_their_parent(
    minter: Minter, changes: dict[str, Any], said: str
) -> None:
    """A child has no tool and no credit that its parent lacks."""
    with pytest.raises(IssuerError, match=said):
        child(minter, root(minter), **changes)


def test_depth_has_a_ceiling(minter: Minter) -> None:
    """Two ancestors are the crew's ceiling; a third is refused."""
    top = root(minter)
    middle = child(minter, top, tools=["search.*"])
    bottom = child(minter, middle)
    with pytest.raises(IssuerError, match="3 ancestors"):
        child(minter, bottom)


def test_another_crews_branch_is_no_parent(minter: Minter) -> None:
    """Neither a child nor a further grant is minted below a branch of another crew."""
    foreign = MintedToken("", msgspec.structs.replace(root(minter).claims, crew="bd"))
    with pytest.raises(IssuerError, match="crew bd cannot have children in crew article"):
        child(minter, foreign)
    with pytest.raises(IssuerError, match="crew article cannot extend a branch of crew bd"):
        minter.extend(foreign.claims, now=NOW)


def test_an_extension_is_a_new_grant_of_the_same_branch(minter: Minter) -> None:
    """Who, what and whose child stay; id and times of the grant are new."""
    before = child(minter, root(minter)).claims
    after = minter.extend(before, now=NOW + 600).claims
    assert (after.iat, after.exp) == (1_800_000_600, 1_800_001_500)
    assert after.jti != before.jti
    same = msgspec.structs.replace(after, jti=before.jti, iat=before.iat, exp=before.exp)
    assert same == before


def test_a_proven_process_stays_proven(minter: Minter) -> None:
    """In each grant of its branch; a child has a process of its own, which may only be stated."""
    root = minter.root(
        role="r", tools=["search.*"], quota=1, process=ProvenProcess("pid_7"), now=NOW
    )
    assert (root.claims.process_id, root.claims.process_proven) == ("pid_7", True)
    assert minter.extend(root.claims, now=NOW).claims.process_proven is True
    child = minter.child(root.claims, role="r", tools=["search.*"], quota=1, process="p", now=NOW)
    assert child.claims.process_proven is None


def test_a_changed_quota_has_a_second_of_its_own(minter: Minter) -> None:
    """At equal `iat` the lower quota governs, so a raise within one second is issued later."""
    before = root(minter).claims
    raised = minter.extend(before, now=NOW, quota=20_000_000).claims
    assert raised.iat == before.iat + 1
    assert raised.exp - raised.iat == 900
    assert minter.extend(before, now=NOW).claims.iat == before.iat


def test_changes_cannot_run_ahead_of_the_clock(minter: Minter) -> None:
    """Gateways take an `iat` five seconds ahead, so more changes than that are refused."""
    claims = root(minter).claims
    for quota in range(4):
        claims = minter.extend(claims, now=NOW, quota=quota).claims
    assert claims.iat == int(NOW) + 4
    with pytest.raises(IssuerError, match="too often"):
        minter.extend(claims, now=NOW, quota=9)


def test_no_grant_is_older_than_an_ancestors(minter: Minter) -> None:
    """A parent that is ahead of the clock, as changed quotas are, has children no older than it."""
    parent = root(minter)
    for quota in (9_000_000, 8_000_000, 7_000_000):
        parent = minter.extend(parent.claims, now=NOW, quota=quota)
    young = child(minter, parent, now=NOW)
    assert young.claims.iat == parent.claims.iat == int(NOW) + 3
    path = [PathElement(parent.claims.execution_branch_id, 1, int(NOW) + 5)]
    assert minter.extend(young.claims, now=NOW, path=path).claims.iat == int(NOW) + 5
    ahead = [PathElement(parent.claims.execution_branch_id, 1, int(NOW) + 6)]
    with pytest.raises(IssuerError, match="6 s ahead of this clock"):
        minter.extend(young.claims, now=NOW, path=ahead)
    with pytest.raises(IssuerError, match="set the clock"):
        child(minter, parent, now=NOW - 60)


def test_a_clock_that_went_back_is_said(minter: Minter) -> None:
    """A grant older than the last one would not govern; the clock is to be set."""
    with pytest.raises(IssuerError, match="set the clock"):
        minter.extend(root(minter).claims, now=NOW - 60)


def test_a_key_of_one_orchestrator_signs_for_no_other() -> None:
    """Such a key gives the orchestrator its name, and refuses another."""
    crew = CrewPolicy("article", "https://orchestrator.example", tools=("search.*",))
    key = SigningKey(tokens.KEY, "article-1", "article/night")
    assert Minter(crew, "https://gateway.example", key).client_id == "article/night"
    with pytest.raises(IssuerError, match="may sign only for article/night"):
        Minter(crew, "https://gateway.example", key, "day")


def test_an_extension_stays_with_its_orchestrator(minter: Minter) -> None:
    """Whoever extends it, the branch is still its orchestrator's; a bound key is that one's."""
    crew = minter.crew
    night = Minter(crew, minter.audience, SigningKey(tokens.KEY, "article-1"), "night")
    claims = root(night).claims
    assert minter.extend(claims, now=NOW).claims.client_id == "article/night"
    bound = Minter(crew, minter.audience, SigningKey(tokens.KEY, "article-1", "article/day"))
    with pytest.raises(IssuerError, match="may sign only for article/day"):
        bound.extend(claims, now=NOW)


def test_secrets_stay_out_of_reprs(minter: Minter) -> None:
    """Neither a token nor a key is in what a log would print."""
    minted = root(minter)
    assert minted.token not in repr(minted)
    assert minted.claims.execution_branch_id in repr(minted)
    assert tokens.base64url(bytes(range(32))).decode() not in repr(minter) + repr(minter.key)


def test_inspection_shows_a_token_as_it_stands(minter: Minter) -> None:
    """A good token with its claims; a malformed one without, but still readable."""
    minted = root(minter)
    seen = inspect_token(f" {minted.token}\n")
    assert seen.claims == minted.claims == read_claims(minted.token)
    bad = inspect_token(tokens.sign(b'{"alg":"none"}', b'{"exp":"1"}').decode())
    assert (bad.header, bad.payload, bad.claims) == ({"alg": "none"}, {"exp": "1"}, None)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "!.!.!", "e30.bm90IGpzb24.x", "é.é.é"])
def test_what_is_no_token_cannot_be_inspected(text: str) -> None:
    """A clear error, not a traceback."""
    with pytest.raises(IssuerError, match="not a token"):
        inspect_token(text)
    with pytest.raises(IssuerError, match="not a token"):
        read_claims(text)


def limited(minter: Minter) -> Minter:
    """A minter whose crew lists one role, and has a ceiling for the orchestrator."""
    tools = minter.crew.tools
    role = Ceiling("role researcher of crew article", ("search.web",), 5, 60, 1, True)
    crew = msgspec.structs.replace(
        minter.crew,
        roles={"researcher": role, "orchestrator": Ceiling("role orchestrator", tools)},
        orchestrators={minter.client_id: Ceiling("orchestrator article/x", tools, 50, 300)},
    )
    return Minter(crew, minter.audience, minter.key)


BOUND: dict[str, Any] = {"binding": Confirmation(jkt="A" * 43), "quota": 5, "tools": ["search.web"]}


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"role": "editor"}, ScopeError, "role 'editor': crew article lists only orchestrator, re"),
        ({"tools": ["search.*"]}, ScopeError, "'search.*' is outside the tools of role researcher"),
        ({"quota": 6}, ScopeError, "0.000006 credits: a branch of role researcher of crew"),
        ({"role": "orchestrator", "quota": 51}, ScopeError, "a branch of orchestrator article/x"),
        ({"binding": None}, IssuerError, "role researcher of crew article requires tokens that"),
        ({"lifetime": 301}, IssuerError, "from 1 to 300, as orchestrator article/x allows"),
    ],
)
def test_each_ceiling_is_refused_with_its_name(
    minter: Minter, changes: dict[str, Any], kind: type[IssuerError], told: str
) -> None:
    """The message says whose limit it is: the crew's, the role's or the orchestrator's."""
    with pytest.raises(kind) as error:
        root(limited(minter), **{"role": "researcher", **BOUND, **changes})
    assert told in str(error.value)


def test_a_role_shortens_the_lifetime_of_its_tokens(minter: Minter) -> None:
    """An orchestrator has one lifetime for all roles, so a role's ceiling shortens it."""
    strict = limited(minter)
    first = root(strict, role="researcher", lifetime=300, **BOUND).claims
    assert first.exp - first.iat == 60
    later = strict.extend(first, now=NOW + 30, lifetime=300).claims
    assert later.exp - later.iat == 60
    assert root(strict, quota=5).claims.exp - int(NOW) == 300


def test_the_depth_of_a_role_has_a_ceiling(minter: Minter) -> None:
    """The role may be one level below its run, and not two."""
    strict = limited(minter)
    top = root(strict, quota=50)
    one = child(strict, top, **BOUND)
    with pytest.raises(IssuerError, match="2 ancestors: a branch of role researcher"):
        child(strict, one, **BOUND)
