"""`crewgate journal` shows all journals of a machine, also while they grow, and when damaged."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crewgate.config import load
from crewgate.issuer import ExtensionDecision, Orchestrator, SubAgent
from crewgate.issuer.journal.journal_queries import JournalFilter, JournalQuery

BRANCH = "0199c1d2-0000-7000-8000-00000000000a"
# A line of the first version, which had no `way` and no `decided_by`.
OLD = (
    b'{"event":"revoke","at":1764000000.5,"branch":"' + BRANCH.encode() + b'",'
    b'"by":"other/other-1","why":"loops"}\n'
)


@pytest.fixture
def family(fresh: Path, run: Run) -> dict[str, SubAgent]:
    """A run and a child with a decided and a refused request; a command; an old journal."""
    decide = [ExtensionDecision(True, "for the \x1b[31mlong page"), ExtensionDecision(False, "no")]
    with Orchestrator.from_config(
        fresh, crew="article", decide=lambda request: decide.pop(0)
    ) as article:
        started = article.start_run(credits="10", tools=["search.*"], reason="nightly")
        child = started.spawn(role="researcher", tools=["search.web"], credits="2", seconds=3600)
        child.request_extension(
            more_seconds=600, more_credits="2", more_tools=["search.news"], reason="more"
        )
        child.request_extension(more_credits="4", reason="greed")
        child.token()
        assert run("refresh", "-c", fresh, child.token(), "--reason", "by hand").exit_code == 0
    (load(fresh).journal_folder / "other+other-1.jsonl").write_bytes(OLD)
    return {"run": started, "child": child}


def entries(run: Run, config: Path, *options: str) -> list[dict[str, Any]]:
    result = run("journal", "-c", config, "--json", *options)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["entries"]
    return found


def test_it_says_who_got_what_why_and_who_decided(
    run: Run, fresh: Path, family: dict[str, SubAgent]
) -> None:
    """In a table and as JSON; a text of a sub-agent never controls the terminal."""
    shown = run("journal", "-c", fresh)
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if "+search.news" in line)
    for part in ("article/article-1", "researcher", family["child"].branch, "extended"):
        assert part in line
    assert "end +10m, +2.00 credits, +search.news" in line
    assert "more " in line
    assert "callback (library)" in line
    assert r"for the \x1b[31mlong page" in line
    assert "2 minted, 2 extended, 1 refused, 1 revoked; 3 journals in" in shown.stdout
    old, *_, refused, by_hand = entries(run, fresh)
    assert (old["event"], old["orchestrator"], old["reason"]) == (
        "revoke",
        "other/other-1",
        "loops",
    )
    assert (refused["event"], refused["credits_micro"], refused["answer"]) == (
        "refuse",
        4_000_000,
        "no",
    )
    assert (by_hand["way"], by_hand["role"], by_hand["parent"]) == (
        "command",
        "researcher",
        family["run"].branch,
    )


def test_filters(run: Run, fresh: Path, family: dict[str, SubAgent]) -> None:
    """Each leaves out what does not match; a branch stands for all below it."""
    child, root = family["child"].branch, family["run"].branch
    of_child = entries(run, fresh, "--branch", child)
    assert [each["event"] for each in of_child] == ["mint", "extend", "refuse", "extend"]
    assert len(entries(run, fresh, "--branch", root)) == 5
    assert len(entries(run, fresh, "--crew", "article")) == 5
    assert len(entries(run, fresh, "--orchestrator", "other/other-1")) == 1
    assert len(entries(run, fresh, "--since", "1h")) == 5
    grant = of_child[1]["grant"]
    assert [each["event"] for each in entries(run, fresh, "--grant", grant)] == ["extend", "refuse"]
    assert [each["reason"] for each in entries(run, fresh, "--refused")] == ["greed"]
    assert [each["reason"] for each in entries(run, fresh, "--limit", "1")] == ["by hand"]
    result = run("journal", "-c", fresh, "--limit", "1")
    assert "5 older ones are not listed; --limit lists more" in result.stdout
    result = run("journal", "-c", fresh, "--limit", "0")
    assert "2 minted, 2 extended, 1 refused, 1 revoked" in result.stdout
    result = run("journal", "-c", fresh, "--branch", "x")
    assert (result.exit_code, "not a branch id" in result.stderr) == (2, True)


def test_it_takes_no_lock_and_leaves_a_growing_line(
    run: Run, fresh: Path, family: dict[str, SubAgent]
) -> None:
    """A line without its end is not there yet; the next look shows it."""
    path = load(fresh).journal_folder / "other+other-1.jsonl"
    with Orchestrator.from_config(fresh, crew="article") as article:
        path.write_bytes(OLD + OLD[:50])
        result = run("journal", "-c", fresh)
        assert (result.exit_code, "not read" in result.stdout) == (0, False)
        assert len(entries(run, fresh)) == 6
        path.write_bytes(OLD + OLD)
        assert len(entries(run, fresh)) == 7
        assert article.agent(family["run"].branch)


def test_it_says_what_it_could_not_read(run: Run, fresh: Path, family: dict[str, SubAgent]) -> None:
    """A file, a line that is no entry, a line of a later version, a line that is too long."""
    folder = load(fresh).journal_folder
    path = folder / "other+other-1.jsonl"
    later = OLD.replace(b'"revoke"', b'"revise"')
    path.write_bytes(b"\xff\n" + later + b"x" * 70_000 + b"\n" + OLD)
    os.mkfifo(folder / "a-pipe.jsonl")
    result = run("journal", "-c", fresh)
    assert result.exit_code == 1
    for place in (f"{path}: line 1: damaged", f"{path}: line 2: ", f"{path}: line 3: longer than"):
        assert f"not read: {place}" in result.stdout
    assert f"{folder / 'a-pipe.jsonl'}: not a regular file" in result.stdout
    assert "1 revoked" in result.stdout
    found = json.loads(run("journal", "-c", fresh, "--json").stdout)["unreadable"]
    assert sorted(each["line"] for each in found) == [0, 1, 2, 3]


def test_a_machine_without_journals(run: Run, fresh: Path) -> None:
    """It says where it looked."""
    result = run("journal", "-c", fresh)
    assert (result.exit_code, result.stdout) == (
        0,
        f"0 minted, 0 extended, 0 refused, 0 revoked; 0 journals in {load(fresh).journal_folder}\n",
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=40)), max_size=5),
    cut=st.integers(0, 5000),
)
def test_no_damage_ends_the_search(
    tmp_path: Path, damage: list[tuple[int, bytes]], cut: int
) -> None:
    """Each whole line is an entry or is named as unreadable; nothing else is."""
    path = tmp_path / "other+other-1.jsonl"
    data = bytearray(OLD * 20)
    for place, bytes_ in damage:
        data[place : place + len(bytes_) // 2] = bytes_
    path.write_bytes(data[: len(data) - cut] if cut < len(data) else data)
    report = JournalQuery(tmp_path, JournalFilter()).report()
    lines = path.read_bytes().count(b"\n")
    assert len(report.entries) + len(report.unreadable) + report.unreadable_more == lines
