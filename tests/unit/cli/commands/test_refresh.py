"""What `crewgate mint` and `crewgate refresh` write into the journal of commands."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Run

from crewgate import limits
from crewgate.config import load
from crewgate.issuer import Orchestrator, read_claims
from crewgate.issuer.journal.mint_journal import MintJournal


def journal_of(config: Path) -> Path:
    return load(config).command_journal_of("article/article-1")


def lines(config: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_of(config).read_text().splitlines()]


def test_each_token_has_a_line(mint: Run, run: Run, fresh: Path) -> None:
    """Who minted it and why; the file is its owner's, and holds no token."""
    first = mint("--reason", "a test by hand").stdout.strip()
    more = ("--credits", "3", "--tools", "search.*,embeddings.create", "--reason", "one more page")
    second = run("refresh", "-c", fresh, first, *more).stdout.strip()
    refused = run("refresh", "-c", fresh, second, "--credits", "5000")
    assert (refused.exit_code, refused.stdout) == (2, "")
    minted, extended, no = lines(fresh)
    assert {(line["way"], line["event"]) for line in (minted, extended, no)} == {
        ("command", "mint"),
        ("command", "extend"),
        ("command", "refuse"),
    }
    assert (minted["decided_by"], minted["why"]) == (f"uid {os.getuid()}", "a test by hand")
    assert (extended["decided_by"], extended["why"]) == (f"uid {os.getuid()}", "one more page")
    assert (extended["credits"], extended["tools"]) == (500_000, ["embeddings.create"])
    assert (no["decided_by"], no["credits"]) == ("policy", 4_997_000_000)
    assert extended["claims"]["jti"] == read_claims(second).jti
    path = journal_of(fresh)
    assert first.rpartition(".")[2] not in path.read_text()
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, *list(path.parents)[:3])]
    assert modes == [0o600, 0o700, 0o700, 0o710]


def test_commands_and_an_orchestrator_count_together(mint: Run, run: Run, fresh: Path) -> None:
    """Neither waits for the other's lock, and neither gives what both may not give together."""
    text = fresh.read_text().replace("[crew.article]", "[crew.article]\nextensions_max = 2")
    fresh.write_text(text)
    with Orchestrator.from_config(fresh, crew="article") as article:
        started = article.start_run(credits="10", tools=["search.*"])
        token = run("refresh", "-c", fresh, started.token(), "--credits", "11").stdout.strip()
        started.refresh()
        assert started.claims.credit_quota == 11_000_000
        result = run("refresh", "-c", fresh, token)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "extensions_max of crew article is 2" in result.stderr
        child = mint("--parent", token).stdout.strip()
        article.mark_revoked(started.branch)
        for shown in (token, child):
            result = run("refresh", "-c", fresh, shown)
            assert f"branch {started.branch} was revoked by its orchestrator" in result.stderr
        assert mint("--parent", child).exit_code == 2


def test_a_crash_of_a_command_leaves_a_usable_journal(mint: Run, fresh: Path) -> None:
    """A part of a line is removed by the next command."""
    mint()
    whole = journal_of(fresh).read_bytes()
    for left in (whole[:40], b"\0" * 40, whole[:40] + b"\0" * 40 + b"\n"):
        journal_of(fresh).write_bytes(whole + left)
        assert mint().exit_code == 0
        assert journal_of(fresh).read_bytes().startswith(whole)
        assert len(lines(fresh)) == 2
    journal_of(fresh).write_bytes(b"no journal\n")
    result = mint()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the last line is damaged, or the file is not a journal" in result.stderr


def test_without_a_line_nothing_is_minted(
    mint: Run, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to do: try again, or run as another user."""
    monkeypatch.setattr(limits, "command_journal_seconds_max", 0.0)
    mint()
    other = MintJournal(journal_of(fresh))
    result = mint()
    other.close()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "another `crewgate` command writes this journal; try again" in result.stderr
    journal_of(fresh).unlink()
    journal_of(fresh).parent.rmdir()
    journal_of(fresh).parent.write_text("in the way")
    result = mint()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Nothing was minted, because each grant of a command must be in" in result.stderr
