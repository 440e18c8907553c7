"""Health on a terminal: 80 columns, what is at fault first, and an exit status."""

import msgspec
import pytest

from crewgate.cli.output.health import EXIT_STATUS, headline, lines, wrapped
from crewgate.core.health import HealthCondition, HealthTracker, degraded, failed, ok

NOW = 1_800_000_000.0


def _shown(*facts: HealthCondition) -> list[str]:
    found = [msgspec.to_builtins(fact) for fact in facts]
    return list(lines(found, NOW))


def test_what_is_not_well_is_told_with_its_remedy() -> None:
    """Since when, why, what to do; no line over 80 columns but for a path, which stays whole."""
    path = "/" + "a" * 90
    fact = failed("audit", f"{path}: cannot write: No space left on device", "make room " * 12)
    lines = _shown(HealthCondition(**msgspec.structs.asdict(fact), since=NOW - 185))
    assert lines[0] == "failed    audit, since 2027-01-15 07:56:55Z (3 min)"
    assert any(path in line for line in lines)
    assert all(len(line) <= 80 or path in line for line in lines)
    assert lines[-1].endswith(".")
    assert "          To mend it: make room" in "\n".join(lines)


def test_a_command_stays_on_one_line() -> None:
    """So a person can copy it, whatever its length."""
    command = f"`crewgate audit -c /etc/crewgate/crewgate.toml --branch {'b' * 36}`"
    shown = wrapped(f"look at its calls: {command}; to end it: {command}")
    assert [line.strip() for line in shown] == [
        "look at its calls:", f"{command};", "to end it:", command,
    ]  # fmt: skip


def test_what_is_starting_is_said_to_be() -> None:
    """And what needs no remedy names none."""
    fact = failed("worker 0", "it is not attached to the agent")
    condition = HealthCondition(**msgspec.structs.asdict(fact), since=NOW, passing=True)
    assert _shown(condition) == [
        "starting  worker 0, since 2027-01-15 08:00:00Z (0 s)",
        "          it is not attached to the agent",
    ]


@pytest.mark.parametrize(
    ("facts", "first_line", "status"),
    [
        ([ok("a")], "ready", 0),
        ([degraded("a", "x")], "ready, but degraded: a", 1),
        ([failed("a", "x"), degraded("b", "x")], "not ready: a", 2),
        (
            [failed(name, "x") for name in "abcdef"],
            "not ready: a; b; c; d; and 2 more",
            2,
        ),
    ],
)
def test_the_first_line_and_the_exit_status_agree(
    facts: list[HealthCondition], first_line: str, status: int
) -> None:
    """Ready or not, and who is at fault."""
    health = HealthTracker()
    health.update(facts, 0.0)
    found = health.summary
    troubles = [msgspec.to_builtins(each) for each in found.troubles]
    assert headline(found.state.value, troubles) == first_line
    assert EXIT_STATUS[found.state.value] == status
