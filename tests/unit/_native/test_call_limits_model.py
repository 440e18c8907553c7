"""Limits on calls against slow models, and against processes that are killed."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from crew_world import BRANCH, ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from limit_worlds import EMBED, PING, SEARCH, DrainingDebt, SlowLimits, after, limited, rate
from native_programs import compiled
from search_depth import deep

from crewgate._native.permit import Permit
from crewgate.core.policy.call_limits import CallLimit

OTHER = "0199c1d2-0000-7000-8000-000000000009"


_steps = st.lists(
    st.tuples(st.sampled_from(["call", "call", "call", "release", "settle"]), st.integers(0, 900)),
    max_size=60,
)


class Caller(NamedTuple):
    """Who makes a call, and of what."""

    number: int
    branch: str
    run: str
    role: str
    tool: int


# Two runs, of which one has two branches; the branches have different roles.
_CALLERS = [
    (BRANCH, ROOT, "researcher"),
    (OTHER, ROOT, "writer"),
    ("0199c1d2-0000-7000-8000-00000000000a", "0199c1d2-0000-7000-8000-00000000000b", "writer"),
]
_limits = st.lists(
    st.builds(
        dict,
        per=st.sampled_from(["tool", "crew", "role", "branch", "run", "machine"]),
        role=st.sampled_from(["", "", "writer"]),
        tools=st.sampled_from([(), (), ("search.*",), ("free.ping", "embeddings.create")]),
        observe=st.booleans(),
        room=st.one_of(
            st.builds(
                dict, calls=st.integers(1, 9), seconds=st.integers(1, 3), burst=st.integers(1, 3)
            ),
            st.builds(dict, concurrent=st.integers(1, 3)),
        ),
    ),
    min_size=1,
    max_size=6,
)
_calls = st.tuples(
    st.sampled_from(["call", "call", "call", "settle"]),
    st.sampled_from([0, 1, 40, 150]),
    st.integers(0, 2),
    st.sampled_from([SEARCH, EMBED, PING]),
)


def _slow_scope(limit: CallLimit, call: Caller) -> str | None:
    """Which calls share a count, as the how-to page says it."""
    if limit.role not in {"", call.role}:
        return None
    name = ("search.web", "embeddings.create", "free.ping")[call.tool]
    covered = {"search.*": name == "search.web"}
    if limit.tools and not any(covered.get(each, each == name) for each in limit.tools):
        return None
    shared = {"tool": name, "role": limit.role, "branch": call.branch, "run": call.run}
    return shared.get(limit.per, "all")  # the crew lists no roles, so they count together


@given(found=_limits, steps=st.lists(_calls, min_size=8, max_size=40))
@settings(deadline=None)
def test_the_gate_counts_like_the_model(
    found: list[dict[str, Any]], steps: list[tuple[str, int, int, int]]
) -> None:
    """Each call counts in all limits that are about it, or in none of them."""
    made = [
        CallLimit(
            name=f"l{number}",
            **{key: value for key, value in each.items() if key != "room"},
            **each["room"],
        )
        for number, each in enumerate(found)
    ]
    assume(sum(each.words for each in made if each.is_of_branches) <= 12)
    house = limited(*made)
    tokens = []
    for branch, root, role in _CALLERS:
        path = [{"id": root, "credit_quota": 10_000_000, "iat": house.world.now}]
        token = house.world.mint(execution_branch_id=branch, agent_role=role, branch_path=path)
        house.permit(token, counts=False).release()
        tokens.append(token)
    model = SlowLimits(made, _slow_scope)
    held: list[tuple[Permit, Caller]] = []
    for number, (step, milliseconds, who, tool) in enumerate(steps):
        after(house, milliseconds / 1000)
        if step == "settle":
            if held:
                permit, call = held.pop(milliseconds % len(held))
                permit.settle()
                model.end(call)
            continue
        call = Caller(number, *_CALLERS[who], tool)
        expected = model.decide(call, house.boot_ns)
        verdict = house.judge(tokens[who], tool)
        if isinstance(verdict, Permit):
            held.append((verdict, call))
            assert expected == (None, "", verdict.observed_reason)
        else:
            assert verdict.limit is not None
            assert expected == (verdict.reason, verdict.limit.name, None)
    for permit, _ in held:
        permit.settle()


@given(steps=_steps, burst=st.integers(1, 4))
@settings(deadline=None)
def test_calls_that_were_not_released_keep_the_limit(
    steps: list[tuple[str, int]], burst: int
) -> None:
    """A release gives back no more than the call took: the rest conforms to the limit."""
    limit = rate(calls=3, burst=burst)
    house = limited(limit)
    held: list[tuple[Permit, int]] = []
    kept: list[int] = []
    for step, milliseconds in steps:
        after(house, milliseconds / 4000)
        if step == "call":
            verdict = house.judge(house.world.token)
            if isinstance(verdict, Permit):
                held.append((verdict, house.boot_ns))
        elif held:
            permit, began = held.pop(milliseconds % len(held))
            if step == "release":
                permit.release()
            else:
                permit.settle()
                kept.append(began)
    kept += [began for _, began in held]
    model = DrainingDebt(limit)
    assert all(model.take(when) for when in sorted(kept))
    for permit, _ in held:
        permit.settle()


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_count_exactly_and_are_killed(seed: int, tmp_path: Path) -> None:
    """Not one call too many in millions, and at most one too few for each kill."""
    program = compiled("call_limits", tmp_path)
    done = subprocess.run(
        [program, str(deep(1)), str(seed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_process_that_was_stopped_and_goes_on_takes_nothing_of_others(tmp_path: Path) -> None:
    """It may stop before any store, lose its attachment, or find its limits replaced."""
    program = compiled("limits_resumed", tmp_path, "-DCREWGATE_FAULTS")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert int(done.stdout.removeprefix("stops ")) >= 400
