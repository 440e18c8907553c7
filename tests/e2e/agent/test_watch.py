"""The minting watch on a whole gateway: real tokens, real processes, and a person's commands."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from command_process import crewgate
from installation import Installation, wait_until, watched_minute

WATCH = """
[crew.article.watch]
mode = "quarantine"
mints_per_minute = 5
strikes = 1

[tool."search.trial"]
method = "POST"
path = "/trial"
upstream = "tools"
price = "0.01"
mode = "observe"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Serving, with a strict watch over its crew; each test has an orchestrator of its own."""
    gateway = Installation(tmp_path_factory.mktemp("watch"), price="0.01")
    gateway.file.write_text(gateway.file.read_text() + WATCH)
    try:
        gateway.serve()
        yield gateway
    finally:
        gateway.end()


async def call(gateway: Installation, token: str, path: str = "/search") -> Any:
    """One call's answer."""
    async with gateway.client() as client:
        headers = {"authorization": f"Bearer {token}"}
        return await client.post(path, headers=headers, json={"q": "otters"})


def watched(gateway: Installation, name: str) -> list[dict[str, Any]]:
    """What the command for scripts lists of one orchestrator."""
    listed: list[dict[str, Any]] = gateway.ask("audit", "--watch")["watch"]
    return [step for step in listed if step["orchestrator"] == name]


async def test_a_runaway_minter_is_quarantined_and_its_live_branches_go_on(
    gateway: Installation,
) -> None:
    """At the sixth branch of a minute; a retry is told; a person sees why, and lifts it."""
    for number in count():
        began = watched_minute()
        article = gateway.orchestrator(name=f"wild-{number}")
        run = article.start_run(credits="100", tools=["search.*"])
        agents = [
            article.spawn(role="researcher", parent=run, tools=["search.web"], credits="1")
            for _ in range(8)
        ]
        answers = [await call(gateway, agent.token()) for agent in agents]
        if watched_minute() == began:
            break
        crewgate("quarantine", "-c", gateway.file, run.claims.client_id, "--lift")
    assert [answer.status_code for answer in answers] == [200] * 5 + [503] * 3
    refused = answers[-1]
    assert refused.headers["retry-after"] == "10"
    assert refused.json()["type"].endswith("/orchestrator-held")
    assert (await call(gateway, agents[0].token())).status_code == 200
    fresh = article.refresh(agents[0].branch)
    assert (await call(gateway, fresh)).status_code == 200

    (row,) = gateway.ask("status")["watched"]
    name = row["orchestrator"]
    assert row == {
        "crew": "article", "orchestrator": name, "level": "quarantine",
        "in_force": "quarantine", "by": "watch", "until": row["until"],
    }  # fmt: skip
    assert 86_000 < row["until"] - time.time() <= 86_400
    end = datetime.fromtimestamp(row["until"], UTC)
    assert f"{name} quarantined until {end:%Y-%m-%d %H:%M}Z (by the watch)" in gateway.run("status")
    (step,) = watched(gateway, name)
    assert (step["measure"], step["value"], step["limit"]) == ("mints-per-minute", 6, 5)
    assert step["branch"] == agents[5].branch
    log = (gateway.folder / "serve.log").read_text()
    assert f"minting of {name} is quarantined: mints-per-minute 6; its ceiling is 5" in log

    assert "not quarantined; it can start branches again" in gateway.run(
        "quarantine", name, "--lift"
    )
    assert (await call(gateway, agents[7].token())).status_code == 200
    assert gateway.ask("status")["watched"] == []


async def test_what_a_person_set_outlives_agent_and_gateway(gateway: Installation) -> None:
    """SIGKILL of the agent, then another `serve`: the quarantine stands, and live branches live."""
    article = gateway.orchestrator(name="held")
    live = article.start_run(credits="1", tools=["search.*"])
    assert (await call(gateway, live.token())).status_code == 200
    name = live.claims.client_id
    row = gateway.ask("quarantine", name)
    assert (row["level"], row["by"]) == ("quarantine", "owner")

    (agent,) = gateway.children("agent")
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: gateway.children("agent") not in ([], [agent]))
    gateway.run("status", "--wait", "100")
    assert (await call(gateway, live.token())).status_code == 200
    new = article.start_run(credits="1", tools=["search.*"])
    assert (await call(gateway, new.token())).status_code == 503

    assert gateway.stop() == 0
    gateway.serve()
    assert (await call(gateway, new.token())).status_code == 503
    assert (await call(gateway, live.token())).status_code == 200
    gateway.run("quarantine", name, "--lift")
    assert (await call(gateway, new.token())).status_code == 200
    assert [(each["step"], each["by"]) for each in watched(gateway, name)] == [
        ("set", "owner"), ("lifted", "owner"),
    ]  # fmt: skip


@pytest.mark.parametrize("allowed", ["search.*", "search.web"])
async def test_a_tool_in_observe_mode_admits_no_new_branch_of_a_quarantined_orchestrator(
    gateway: Installation, allowed: str
) -> None:
    """The quarantine is no matter of tools or credits: the answer and the audit name it."""
    article = gateway.orchestrator(name=f"tried-{len(allowed)}")
    run = article.start_run(credits="1", tools=[allowed])
    name = run.claims.client_id
    gateway.run("quarantine", name)
    refused = await call(gateway, run.token(), "/trial")
    assert refused.status_code == 503
    assert refused.json()["type"].endswith("/orchestrator-held")
    (line,) = gateway.ask("audit", "--branch", run.branch)["calls"]
    assert (line["verdict"], line["reason"]) == ("deny", "orchestrator-held")
    gateway.run("quarantine", name, "--lift")
    assert (await call(gateway, run.token(), "/trial")).status_code == 200


async def test_it_lapses(gateway: Installation) -> None:
    """A person says when, and another time; a gateway that begins after that admits what waited."""
    article = gateway.orchestrator(name="let-go")
    run = article.start_run(credits="1", tools=["search.*"])
    name = run.claims.client_id
    until = time.time() + 7 * 86_400
    assert "quarantined until 20" in gateway.run("quarantine", name, "--for", "7d")
    assert abs(gateway.ask("status")["watched"][0]["until"] - until) < 60
    row = gateway.ask("quarantine", name, "--for", "90s")
    assert 0 < row["until"] - time.time() <= 90
    assert (await call(gateway, run.token())).status_code == 503
    assert gateway.stop() == 0
    state = gateway.folder / "state"
    shutil.rmtree(state / "gossip")  # with its word to other machines, of whom there are none
    journal = state / "watch"  # as if it had been set two minutes earlier
    text = journal.read_text()
    assert str(row["until"]) in text
    journal.write_text(text.replace(str(row["until"]), str(row["until"] - 120)))
    gateway.serve()
    wait_until(lambda: gateway.ask("status")["watched"] == [])
    assert (await call(gateway, run.token())).status_code == 200
    assert [(each["step"], each["by"], each["level"]) for each in watched(gateway, name)] == [
        ("set", "owner", "quarantine"), ("set", "owner", "quarantine"), ("lapsed", "", "observe"),
    ]  # fmt: skip


def test_what_cannot_be_quarantined_is_one_line(gateway: Installation) -> None:
    """No name, no such crew, nothing to lift: exit status 2 and what to write instead."""
    for arguments, told in (
        (["article"], "'article': expected CREW/NAME, such as article/article-1"),
        (["bd/one"], "no crew 'bd'; configured are: article"),
        (
            ["article/none", "--lift"],
            "article/none: there is nothing to lift: this machine has never",
        ),
        (["a b", "--crew", "article"], "is not an orchestrator's client_id"),
        (["article/none", "--for", "5"], "'5': expected a duration from 60s to 7d"),
        (["article/none", "--for", "8d"], "'8d': expected a duration from 60s to 7d"),
        (["article/none", "--lift", "--for", "1h"], "--lift ends one: give only one of them"),
    ):
        done = crewgate("quarantine", "-c", gateway.file, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert gateway.ask("quarantine", "article/*")["orchestrator"] == "article/*"
    gateway.run("quarantine", "article/*", "--lift")
