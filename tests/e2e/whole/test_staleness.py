"""Without an agent that vouches for the table nobody admits, and everybody comes back alone."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from installation import Installation, installed, wait_until

EMBEDDER = Path(__file__).parents[2] / "support" / "embedder.py"
REFUSE_SECONDS = 6.0  # the design's bound: 5 s of freshness, and a second to notice


@contextmanager
def embedder(site: Installation, token: str) -> Iterator[Callable[[], bytes]]:
    """An embedder that decides all the time; what it answered since it was last asked."""
    process = subprocess.Popen(
        [sys.executable, str(EMBEDDER), str(site.file), token, "search.web"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    pipe = process.stdout
    os.set_blocking(pipe.fileno(), False)
    try:
        yield lambda: pipe.read() or b""
    finally:
        process.kill()
        process.wait()
        pipe.close()


def answer(site: Installation, token: str) -> int:
    """The status of one call on a new connection."""
    context = ssl.create_default_context(cafile=str(site.folder / "certs" / "ca.pem"))
    url = f"https://127.0.0.1:{site.port}/search"
    fields = {"authorization": f"Bearer {token}"}
    with httpx.Client(verify=context, trust_env=False, timeout=10) as client:
        return client.post(url, json={}, headers=fields).status_code


def answers(site: Installation, token: str) -> set[int]:
    """What several connections get: each worker is among them, all but surely."""
    return {answer(site, token) for _ in range(6)}


def stop_agent(site: Installation) -> None:
    (agent,) = site.children("agent")
    os.kill(agent, signal.SIGSTOP)


def resume_agent(site: Installation) -> None:
    (agent,) = site.children("agent")
    os.kill(agent, signal.SIGCONT)


def replace_table(site: Installation) -> None:
    """The agent dies and its table's file is gone: the next one makes another."""
    (agent,) = site.children("agent")
    os.kill(agent, signal.SIGSTOP)
    (site.folder / "state" / "table").unlink()
    os.kill(agent, signal.SIGKILL)


def nothing(site: Installation) -> None:
    """The supervisor does the rest."""


@pytest.mark.parametrize(
    ("disturb", "mend", "refuses"),
    [(stop_agent, resume_agent, True), (replace_table, nothing, False)],
    ids=["agent stopped", "table replaced"],
)
def test_refused_soon_and_back_alone(
    tmp_path: Path,
    disturb: Callable[[Installation], None],
    mend: Callable[[Installation], None],
    *,
    refuses: bool,
) -> None:
    """Workers and an embedder stop admitting within 6 s and recover without being touched."""
    with installed(tmp_path, price="0.001") as site:
        article = site.orchestrator()
        run = article.start_run(credits="100", tools=["search.*"])
        token = run.token()
        with embedder(site, token) as heard:
            seen = b""

            def admits() -> bool:
                nonlocal seen
                seen = heard()
                return b"P" in seen

            wait_until(admits)
            assert answers(site, token) == {200}
            disturb(site)
            if refuses:
                time.sleep(REFUSE_SECONDS)
                heard()
                assert answers(site, token) == {503}
                time.sleep(1)
                assert set(heard()) == {ord("U")}
            mend(site)
            wait_until(admits, 30)
            wait_until(lambda: answers(site, token) == {200}, 30)


def test_a_killed_supervisor_takes_its_children_and_a_new_one_goes_on(tmp_path: Path) -> None:
    """No process is left behind; the next `serve` has the same table: spend and revocations."""
    with installed(tmp_path) as site:
        article = site.orchestrator()
        run = article.start_run(credits="10", tools=["search.*"])
        dead = article.start_run(credits="10", tools=["search.*"])
        tokens = run.token(), dead.token()
        assert answer(site, tokens[0]) == answer(site, tokens[1]) == 200
        site.run("revoke", dead.branch)
        children = site.children("agent") + site.children("gateway")
        assert len(children) == 3
        assert site.serving is not None
        site.serving.kill()
        site.serving.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        site.serve()
        spent = {line["branch"]: line["spent_micro"] for line in site.ask("tree")["branches"]}
        assert spent[run.branch] == 1_000_000
        assert answer(site, tokens[1]) == 401
        assert answer(site, tokens[0]) == 200
        assert site.stop() == 0
