"""The native answer to the usual calls of `decide`, against the Python method."""

import inspect
from typing import Any, cast

import pytest
from crew_world import World
from embedded import denied, permitted, standalone

from crewgate import Denial, Permit, Verifier
from crewgate.core.reasons import Reason

OTHER = "0199c1d2-0000-7000-8000-0000000000aa"
SLOW: Any = cast("Any", Verifier.decide).__wrapped__


class Text(str):
    """A text of another class."""

    __slots__ = ()


class Octets(bytes):
    """Bytes of another class."""

    __slots__ = ()


def facts(verdict: Permit | Denial) -> tuple[object, ...]:
    """What a verdict says, without what differs from call to call."""
    if isinstance(verdict, Permit):
        return verdict.tool, verdict.price_micro, verdict.grant.branch, verdict.observed_reason
    return verdict.reason, verdict.retry, verdict.level, verdict.need_micro


@pytest.mark.parametrize("has_sink", [False, True])
def test_both_ways_say_the_same(has_sink: bool) -> None:
    """Whatever the token and the tool are, with and without a sink."""
    world, told = World.make(), list[tuple[object, Permit | Denial]]()
    good = world.token
    dear = world.mint(credit_quota=5, execution_branch_id=OTHER)
    tokens = [good, good.decode(), Text(good.decode()), Octets(good), bytearray(good)]
    tokens += [dear, dear.decode(), b"", "", "é.é.é", "\ud800", good.decode() + "é"]
    tokens += [good + b"A" * 5000, good.decode() + "A" * 5000, None, 7]
    tools = [
        "search.web",
        "free.ping",
        "audit.read",
        "no.tool",
        "",
        Text("search.web"),
        b"a",
        [],
        3,
    ]
    with standalone(world) as verifier:
        verifier._sink = (lambda *call: told.append(call)) if has_sink else None  # type: ignore[misc]
        for token in tokens:
            for tool in tools:
                fast = verifier.decide(cast("Any", token), cast("Any", tool))
                slow = SLOW(verifier, token, tool)
                assert facts(fast) == facts(slow), (token, tool)
                if has_sink:
                    assert [each[0] for each in told[-2:]] == [tool, tool]
                    assert [each[1] for each in told[-2:]] == [fast, slow]
        priced = verifier.decide(good, "search.web", cost_micro=3)
        assert permitted(priced).price_micro == 3
        verifier.close()
        closed = verifier.decide(good, "search.web")
        assert facts(closed) == facts(SLOW(verifier, good, "search.web"))
        assert denied(closed).reason is Reason.REVOCATION_UNAVAILABLE


def test_the_fast_path_is_documented_as_the_method() -> None:
    """Editors and `help` show the signature and the docstring of the Python method."""
    assert inspect.signature(Verifier.decide) == inspect.signature(SLOW)
    assert Verifier.decide.__doc__ == SLOW.__doc__
    assert Verifier.decide.__qualname__ == "Verifier.decide"
