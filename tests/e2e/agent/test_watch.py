"""The minting watch on a whole gateway: real tokens, real processes, and a person's commands."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installation import COMMAND, Installation, wait_until

WATCH = """
[crew.article.watch]
mode = "quarantine"
mints_per_minute = 5
strikes = 1
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Installation]:
    """Serving, with a strict watch over its crew."""
    gateway = Installation(tmp_path, price="0.01")
    gateway.file.write_text(gateway.file.read_text() + WATCH)
    try:
        gateway.serve()
        yield gateway
    finally:
        gateway.end()


async def call(gateway: Installation, token: str) -> Any:
    """One call's answer."""
    async with gateway.client() as client:
        headers = {"authorization": f"Bearer {token}"}
        return await client.post("/search", headers=headers, json={"q": "otters"})


def watched(gateway: Installation) -> list[dict[str, Any]]:
    """What the command for scripts lists."""
    listed: list[dict[str, Any]] = gateway.ask("audit", "--watch")["watch"]
    return listed


async def test_a_runaway_minter_is_quarantined_and_its_live_branches_go_on(
    gateway: Installation,
) -> None:
    """At the sixth branch of a minute; a retry is told; a person sees why, and lifts it."""
    article = gateway.orchestrator()
    run = article.start_run(credits="100", tools=["search.*"])
    agents = [
        article.spawn(role="researcher", parent=run, tools=["search.web"], credits="1")
        for _ in range(8)
    ]
    answers = [await call(gateway, agent.token()) for agent in agents]
    assert [answer.status_code for answer in answers] == [200] * 5 + [503] * 3
    refused = answers[-1]
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["type"].endswith("/budget-unavailable")
    assert (await call(gateway, agents[0].token())).status_code == 200
    fresh = article.refresh(agents[0].branch)
    assert (await call(gateway, fresh)).status_code == 200

    (row,) = gateway.ask("status")["watched"]
    name = row["orchestrator"]
    assert row == {
        "crew": "article", "orchestrator": name, "rung": "quarantine",
        "in_force": "quarantine", "by": "watch",
    }  # fmt: skip
    assert f"{name} quarantined (by watch)" in gateway.run("status")
    (step,) = watched(gateway)
    assert (step["measure"], step["value"], step["limit"]) == ("mints-per-minute", 6, 5)
    assert step["branch"] == agents[5].branch
    log = (gateway.folder / "serve.log").read_text()
    assert f"minting of {name} is quarantined: mints-per-minute 6; its ceiling 5" in log

    assert "admitted again" in gateway.run("quarantine", name, "--lift")
    assert (await call(gateway, agents[7].token())).status_code == 200
    assert gateway.ask("status")["watched"] == []


async def test_what_a_person_set_outlives_agent_and_gateway(gateway: Installation) -> None:
    """SIGKILL of the agent, then another `serve`: the quarantine stands, and live branches live."""
    article = gateway.orchestrator()
    live = article.start_run(credits="1", tools=["search.*"])
    assert (await call(gateway, live.token())).status_code == 200
    name = live.claims.client_id
    row = gateway.ask("quarantine", name)
    assert (row["rung"], row["by"]) == ("quarantine", "owner")

    (agent,) = gateway.children("agent")
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: gateway.children("agent") not in ([], [agent]))
    gateway.run("status", "--wait", "30")
    assert (await call(gateway, live.token())).status_code == 200
    new = article.start_run(credits="1", tools=["search.*"])
    assert (await call(gateway, new.token())).status_code == 503

    assert gateway.stop() == 0
    gateway.serve()
    assert (await call(gateway, new.token())).status_code == 503
    assert (await call(gateway, live.token())).status_code == 200
    gateway.run("quarantine", name, "--lift")
    assert (await call(gateway, new.token())).status_code == 200
    assert [(each["step"], each["by"]) for each in watched(gateway)] == [
        ("set", "owner"), ("lifted", "owner"),
    ]  # fmt: skip


def test_what_cannot_be_quarantined_is_one_line(gateway: Installation) -> None:
    """No name, no such crew, nothing to lift: exit status 2 and what to write instead."""
    for arguments, told in (
        (["article"], "'article' is no CREW/NAME, such as article/article-1"),
        (["bd/one"], "no crew 'bd'; configured are: article"),
        (["article/none", "--lift"], "article/none: it is not known here"),
        (["a b", "--crew", "article"], "is no orchestrator's client_id"),
    ):
        done = subprocess.run(
            [*COMMAND, "quarantine", "-c", str(gateway.file), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert json.loads(gateway.run("quarantine", "article/*", "--json"))["orchestrator"] == (
        "article/*"
    )
