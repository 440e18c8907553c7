"""Which calls share a bucket, and what a refused caller is told."""

import pytest

from crewgate.core.policy.call_limits import (
    CallLimit,
    LimitReached,
    LimitScopes,
    limit_reached,
)
from crewgate.core.policy.policy import CrewPolicy, ToolPolicy

TOOLS = (ToolPolicy("search.web", 1), ToolPolicy("files", 1, is_endpoint=True),
         ToolPolicy("files.write", 5))  # fmt: skip
ROLES = {"researcher": None}
CREWS = (
    CrewPolicy("article", "https://article", roles=ROLES),  # type: ignore[arg-type]
    CrewPolicy("finance", "https://finance"),
    CrewPolicy("article:finance", "crewgate:crossing"),
)
SEARCH, FILES, WRITE = range(3)


def _rate(per: str, **how: object) -> CallLimit:
    return CallLimit(name="slow", per=per, calls=1, **how)  # type: ignore[arg-type]


def _scope(limit: CallLimit, tool: int = SEARCH, part: str | None = None,
           crew: str = "article", role: str = "researcher") -> str | None:  # fmt: skip
    scopes = LimitScopes([limit], TOOLS, CREWS)
    found = scopes.scope(limit, crew, role, tool, part)
    assert found is None or found in scopes.all_of(limit)
    return found


def test_a_tool_has_a_bucket_and_so_has_a_part_that_something_names() -> None:
    """A part that no table and no limit names counts with its endpoint: clients invent names."""
    limit = _rate("tool", tools=("search.*", "files.*", "files.delete"))
    assert _scope(limit) == "search.web"
    assert _scope(limit, WRITE) == "files.write"
    assert _scope(limit, FILES, "files.delete") == "files.delete"
    assert _scope(limit, FILES, "files.invented") == "files"
    assert _scope(limit, FILES) is None  # a message that uses no tool
    assert _scope(_rate("tool"), FILES) == "files"
    assert _scope(_rate("tool", tools=("files.delete",)), FILES, "files.read") is None


def test_a_role_has_a_bucket_in_each_crew() -> None:
    """Roles that a crew does not list count together: issuers invent names."""
    assert _scope(_rate("role")) == "article/researcher"
    assert _scope(_rate("role"), role="invented") == "article/"
    assert _scope(_rate("role"), crew="finance") == "finance/"
    assert _scope(_rate("role", role="writer"), role="writer") == "article/writer"
    assert _scope(_rate("role", role="writer")) is None


def test_calls_by_certificate_count_for_the_crew_that_calls() -> None:
    """Their account is a crew to the gate."""
    assert _scope(_rate("crew"), crew="article:finance") == "article"
    assert _scope(_rate("crew", crew="article"), crew="article:finance") == "article"
    assert _scope(_rate("crew", crew="finance"), crew="article:finance") is None


def test_no_two_words_of_a_policy_have_one_key() -> None:
    """Neither of two limits, nor of two scopes, nor of the cells of one scope."""
    found = [_rate(per) for per in ("tool", "crew", "role", "machine", "branch", "run")]
    found += [CallLimit(name=f"{per}s", per=per, concurrent=20) for per in ("tool", "branch")]  # type: ignore[arg-type]
    needed = LimitScopes(found, TOOLS, CREWS).needed()
    assert len(set(needed.cells)) == len(needed.cells) == 3 + 2 + 3 + 1 + 3 * 3
    assert len({*needed.words, *needed.cells}) == len(needed.words) + len(needed.cells)
    assert len(needed.words) == 2 + 20
    assert LimitScopes(found, TOOLS, CREWS).sizes() == (len(needed.cells), len(needed.words))


def test_an_interval_is_rounded_up() -> None:
    """So a bucket never gains more than the configuration says."""
    assert CallLimit(name="a", per="crew", calls=3, seconds=1).interval_ns == 333_333_334


@pytest.mark.parametrize(
    ("limit", "wait_ns", "fields", "detail"),
    [
        (
            CallLimit(name="slow", per="tool", calls=60, seconds=30, burst=60),
            1_400_000_001,
            ['"slow";q=60;w=30', '"slow";r=0;t=2'],
            (
                "The limit slow lets each tool make 60 calls in 30 seconds. Nothing was charged. "
                "Retry in 2 seconds, and call less often."
            ),
        ),
        (
            CallLimit(name="slow", per="machine", calls=1, burst=5),
            1,
            ['"slow";q=1;w=1;crewgate-burst=5', '"slow";r=0;t=1'],
            (
                "The limit slow lets this machine make 1 call in 1 second. Nothing was charged. "
                "Retry in 1 second, and call less often."
            ),
        ),
        (
            CallLimit(name="few", per="branch", concurrent=8),
            0,
            ['"few";q=8;qu="concurrent-requests"', '"few";r=0'],
            (
                "The limit few lets each branch have 8 running calls, and so many run now. Nothing "
                "was charged. Wait until one of them has ended, and then retry."
            ),
        ),
    ],
)
def test_a_refusal_says_when_to_try_again(
    limit: CallLimit, wait_ns: int, fields: list[str], detail: str
) -> None:
    """In the fields of the IETF's draft, and in words."""
    reached = limit_reached(limit, wait_ns)
    names = [b"ratelimit-policy", b"ratelimit"]
    assert reached.fields == list(zip(names, [each.encode() for each in fields], strict=True))
    assert reached.detail == detail
    assert isinstance(reached, LimitReached)
