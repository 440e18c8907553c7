import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from crewgate import limits
from crewgate.errors import IssuerError
from crewgate.issuer import Orchestrator, SubAgent
from crewgate.issuer.token_files.token_file import read_token, write_token
from crewgate.issuer.token_files.token_file_renewer import TokenFileRenewer

Make = Callable[..., Orchestrator]


class Clock(Protocol):
    def __call__(self) -> float: ...
    def pass_seconds(self, seconds: float) -> None: ...


def spawn(article: Orchestrator, path: Path) -> SubAgent:
    """A researcher whose token is in a file."""
    run = article.start_run(credits="10.00", tools=["search.*"])
    return article.spawn(
        role="researcher", parent=run, tools=["search.web"], credits="2.50", token_file=path
    )


def test_a_token_file_is_its_owners_alone(article: Orchestrator, tmp_path: Path) -> None:
    """0600 from its first moment, and it holds the token and nothing else."""
    path = tmp_path / "token"
    before = os.umask(0)
    try:
        agent = spawn(article, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == agent.token() == read_token(path)


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A reader that opened the old file still reads the old token, whole."""
    path = tmp_path / "token"
    write_token(path, "old")
    with path.open() as reader:
        write_token(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_follows_its_token(article: Orchestrator, clock: Clock, tmp_path: Path) -> None:
    """Renewed before the token ends, without the child's doing; dead with its branch."""
    path = tmp_path / "token"
    agent = spawn(article, path)
    first = read_token(path)
    assert article.refresh_if_due(agent.branch) == 600
    clock.pass_seconds(599)
    article.refresh_if_due(agent.branch)
    assert read_token(path) == first
    clock.pass_seconds(1)
    assert article.refresh_if_due(agent.branch) == 600
    assert read_token(path) == agent.token() != first
    second = agent.refresh()
    assert read_token(path) == second
    agent.revoke()
    with pytest.raises(IssuerError, match="its branch was revoked"):
        read_token(path)


def test_a_file_gets_no_token_after_its_end(
    article: Orchestrator, clock: Clock, tmp_path: Path
) -> None:
    """Nor one that another user of the branch needed; an extension of time writes it again."""
    path = tmp_path / "token"
    agent = spawn(article, path)
    article.write_token_file(agent, path, seconds=300)
    last = read_token(path)
    clock.pass_seconds(600)
    assert agent.token() != last
    agent.refresh()
    assert read_token(path) == last
    agent.refresh(seconds=600)
    article.refresh_if_due(agent.branch)
    assert read_token(path) == agent.token()


def test_a_file_that_cannot_be_written_ends_its_branch(
    article: Orchestrator, tmp_path: Path
) -> None:
    """Nobody has the token, so its credits are free again and the caller is told."""
    with pytest.raises(IssuerError, match="cannot write the token file: No such file"):
        spawn(article, tmp_path / "nowhere/token")
    last = (tmp_path / "journal.jsonl").read_text().splitlines()[-1]
    assert "its token file could not be written" in last


def test_a_file_that_was_missed_is_written_later(
    article: Orchestrator, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal whose file failed is not lost: the next look writes it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    agent = spawn(article, folder / "token")
    hidden = folder.rename(tmp_path / "hidden")
    clock.pass_seconds(700)
    assert article.refresh_if_due(agent.branch) == 0
    assert "cannot write the token file" in caplog.text
    hidden.rename(folder)
    assert article.refresh_if_due(agent.branch) == 600
    assert read_token(folder / "token") == agent.token()


def test_the_renewer_renews_by_itself(make: Make, tmp_path: Path) -> None:
    """A thread, woken when a file is added, renews what is due; closing ends it."""
    now = 1_800_000_000.0
    looked = threading.Semaphore(0)

    def clock() -> float:
        if threading.current_thread().name == "crewgate-token-files":
            looked.release()
        return now

    article = make(clock=clock)
    spawn(article, tmp_path / "first")
    assert looked.acquire(timeout=10)
    before = read_token(tmp_path / "first")
    now += 700
    spawn(article, tmp_path / "second")  # wakes it
    while read_token(tmp_path / "first") == before:
        assert looked.acquire(timeout=10)
    article.close()
    names = [thread.name for thread in threading.enumerate()]
    assert "crewgate-token-files" not in names


def test_one_branchs_trouble_does_not_stop_the_others() -> None:
    """Whatever renewing one raises, the others are renewed and it is tried again soon."""
    renewed: list[str] = []

    def renew(branch: str) -> float:
        renewed.append(branch)
        if branch == "refused":
            raise IssuerError("dead")
        if branch == "broken":
            raise RuntimeError("a caller's mistake")
        return 12.0

    renewer = TokenFileRenewer(lambda: ["refused", "broken", "good"], renew)
    assert renewer.renew_due() == limits.token_file_retry_seconds
    assert renewed == ["refused", "broken", "good"]
    assert TokenFileRenewer(lambda: ["good"], renew).renew_due() == 12.0
    assert TokenFileRenewer(list, renew).renew_due() == limits.token_file_look_seconds_max
    assert (
        TokenFileRenewer(lambda: ["x"], lambda branch: 600.0).renew_due()
        == limits.token_file_look_seconds_max
    )


@pytest.mark.parametrize("content", [b"", b" \n", b"a" * 4097, b"two\nlines", b"\xff\xfe", b"a\0b"])
def test_what_is_no_token_is_not_sent(tmp_path: Path, content: bytes) -> None:
    """A file that holds something else is an error, not a header."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(IssuerError, match="does not hold a token"):
        read_token(path)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a half file nor a temporary one."""
    path = tmp_path / "token"
    write_token(path, "old")

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(IssuerError, match="Input/output error"):
        write_token(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"
