"""`crewgate top` at a terminal, over a whole gateway: what a person sees, and what keys do."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from blocking_clients import OK, REVOKED, Caller, becomes
from command_process import crewgate
from installation import Installation, installed, wait_until
from screen import Screen

from crewgate.issuer import Orchestrator, SubAgent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("top"), price="0.01", workers=1) as found:
        yield found


@pytest.fixture
def article(site: Installation) -> Iterator[Orchestrator]:
    with Orchestrator.from_config(site.file, crew="article") as found:
        yield found


def branch(site: Installation, article: Orchestrator, role: str, calls: int = 3) -> SubAgent:
    """A branch below a run that has called."""
    made = article.start_run(credits="10", tools=["search.*"]).spawn(
        credits="5", tools=["search.*"], role=role
    )
    call(site, made, calls)
    return made


def call(site: Installation, agent: SubAgent, calls: int) -> None:
    caller = Caller(site)
    try:
        assert {caller.call(agent.token()) for _ in range(calls)} == {OK}
    finally:
        caller.close()


def top(site: Installation, *more: str, columns: int = 80, lines: int = 24) -> Screen:
    return Screen("top", "-c", site.file, *more, columns=columns, lines=lines)


def has_rates(screen: Screen) -> bool:
    """Whether the only sub-agent on the screen spends and calls."""
    (line,) = [each for each in screen.text.splitlines() if "looper" in each and "─" in each]
    credits_each_minute, calls_each_minute, *_ = line.split()[-4:]
    return float(credits_each_minute) > 0 and int(calls_each_minute) > 0


def test_a_loop_is_seen_and_ended_at_80_by_24(site: Installation, article: Orchestrator) -> None:
    """Its calls and credits each minute, what a rule would do; a question, the receipt."""
    loop = branch(site, article, "looper")
    with top(site, "--filter", "looper") as screen:
        screen.shows(f"looper {loop.branch[:8]}")
        screen.shows("q quit")
        call(site, loop, 10)
        screen.shows("?refuse")
        screen.shows("0.1300 4.8700")
        while not has_rates(screen):  # the calls were those of the last second of a minute
            call(site, loop, 1)
            screen.read(1.0)
        screen.press("\x1b[F")  # End
        screen.press("\r")
        screen.shows(loop.branch)
        screen.shows("same-call would refuse")
        screen.press(" ")
        screen.press("eyes\r")  # typed ahead: it must not answer the question
        screen.shows(f"End branch {loop.branch} (looper) of crew article")
        screen.shows("with 0 live branches")
        assert "yes" not in screen.text.splitlines()[-2]
        screen.press("no\r")
        screen.shows("nothing was done: the answer was not yes")
        call(site, loop, 1)
        screen.press("e")
        screen.shows("Type yes and Enter.")
        screen.press("yes\r")
        screen.shows(f"revoked {loop.branch} of crew article and all below it")
        screen.press(" ")
        screen.shows("revoked")
        screen.press("q")
        assert screen.ended() == 0
        assert screen.is_given_back
        assert b"revoked " + loop.branch.encode() in screen.sent.rpartition(b"\x1b[?1049l")[2]
    caller = Caller(site)
    try:
        becomes(caller, loop.token(), REVOKED, OK)
    finally:
        caller.close()
    (row,) = [
        each for each in site.ask("revocations")["revocations"] if each["name"] == loop.branch
    ]
    assert row["reason"] == "ended in crewgate top"


def test_an_orchestrator_is_quarantined(site: Installation) -> None:
    """The receipt says until when."""
    with Orchestrator.from_config(site.file, crew="article", name="other") as other:
        branch(site, other, "starter")
        with top(site, "--filter", "starter", columns=160, lines=50) as screen:
            screen.shows("article/other")
            screen.press("\x1b[F")
            screen.press("u")
            screen.shows("Quarantine orchestrator article/other?")
            screen.press("yes\r")
            screen.shows("article/other: quarantined until")
            screen.press("q")
            screen.press("q")
            assert screen.ended() == 0
    site.run("quarantine", "article/other", "--lift")


def test_tables_of_tools_and_crews_and_another_size(
    site: Installation, article: Orchestrator
) -> None:
    """Tab goes to the next; a resized screen is drawn anew."""
    branch(site, article, "worker")
    with top(site) as screen:
        screen.shows("CREW AND BRANCH")
        screen.press("\t")
        screen.shows("search.web")
        screen.resize(50, 12)
        screen.until(lambda: screen.text.splitlines()[-1].startswith("q quit"))
        screen.shows("tools")
        screen.press("\t")
        screen.resize(120, 40)
        screen.shows("crews by credits/min")
        screen.until(lambda: screen.text.splitlines()[-1].startswith("q quit"))
        screen.press("?")
        screen.shows("quarantine the orchestrator of the branch, after a question")


def test_only_what_has_changed_is_drawn(site: Installation) -> None:
    """So the screen does not flicker, and a slow connection carries little."""
    with top(site) as screen:
        screen.shows("CREW AND BRANCH")
        screen.shows("credits/min")
        first, sent = screen.text.splitlines()[0], len(screen.sent)
        screen.until(lambda: screen.text.splitlines()[0] != first, "another second")
        assert b"CREW AND BRANCH" not in screen.sent[sent:]
        assert b"\x1b[2J" not in screen.sent[sent:]
        screen.resize(100, 30)
        screen.until(lambda: b"\x1b[2J" in screen.sent[sent:], "a whole screen")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_the_terminal_as_it_was(
    site: Installation, number: signal.Signals, status: int
) -> None:
    """Ctrl-C, `kill`, and a connection that breaks."""
    with top(site) as screen:
        screen.shows("q quit")
        screen.process.send_signal(number)
        assert screen.ended() == status
        assert screen.is_given_back


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(site: Installation) -> None:
    """As the shell expects it."""
    with top(site) as screen:
        screen.shows("q quit")
        screen.process.send_signal(signal.SIGTSTP)
        screen.until(lambda: screen.is_given_back)
        screen.process.send_signal(signal.SIGCONT)
        screen.until(lambda: not screen.is_given_back)
        screen.press("?")
        screen.shows("fold and unfold")
        screen.press("qq")
        assert screen.ended() == 0


def test_it_ends_with_its_terminal(site: Installation) -> None:
    """Nothing goes on asking after the connection has broken."""
    with top(site) as screen:
        screen.shows("q quit")
        screen.hang_up()
        screen.process.wait(30)


def test_a_lost_agent_is_said_and_found_again(site: Installation) -> None:
    """The old rows stay, marked as old."""
    with top(site) as screen:
        screen.shows("CREW AND BRANCH")
        (agent,) = site.children("agent")
        os.kill(agent, signal.SIGSTOP)
        try:
            screen.shows("no answer for")
            assert "CREW AND BRANCH" in screen.text
        finally:
            os.kill(agent, signal.SIGCONT)
        screen.until(lambda: "no answer for" not in screen.text)
        os.kill(agent, signal.SIGKILL)
        screen.until(lambda: agent not in site.children("agent"))
        wait_until(lambda: site.children("agent"))
        screen.until(lambda: "no answer for" not in screen.text)
        screen.press("q")
        assert screen.ended() == 0


def test_colors_are_left_out_if_the_person_says_so(
    site: Installation, article: Orchestrator
) -> None:
    """NO_COLOR; the words say all of it."""
    loop = branch(site, article, "grey", calls=11)
    for no_color, has_color in (("", True), ("1", False)):
        given = {"NO_COLOR": no_color} if no_color else {}
        with Screen("top", "-c", site.file, "--filter", loop.branch, environment=given) as screen:
            screen.shows("?refuse")
            screen.press("q")
            assert screen.ended() == 0
            assert (b"\x1b[1;33m" in screen.sent) == has_color


def test_a_program_reads_a_document(site: Installation, article: Orchestrator) -> None:
    """Two readings: rates of a second; the totals of tools and crews."""
    made = branch(site, article, "counted")
    found = site.ask("top", "--once")
    (row,) = [each for each in found["branches"] if each["branch"] == made.branch]
    assert (row["spent_micro"], row["spent_micro_per_minute"]) == (30_000, 0)
    assert found["seconds"] >= 1
    (tool,) = [each for each in found["tools"] if each["tool"] == "search.web"]
    assert tool["calls"] >= 3
    text = site.run("top", "--once", "--sort", "name", "--filter", "counted")
    assert f"counted {made.branch}" in text
    assert "\x1b" not in text


def test_without_a_terminal_it_says_what_to_use(site: Installation) -> None:
    """And so with a terminal that has no screen, or options that do not fit."""
    done = crewgate("top", "-c", site.file)
    assert done.returncode == 2
    assert "use --once" in done.stderr
    assert "--json is for --once" in crewgate("top", "-c", site.file, "--json").stderr
    with Screen("top", "-c", site.file, environment={"TERM": "dumb"}) as screen:
        assert screen.ended() == 2
        assert "use --once" in " ".join(screen.text.split())


def test_a_reader_that_leaves_ends_it(site: Installation) -> None:
    """As with `head`."""
    command = [sys.executable, "-m", "crewgate.cli", "top", "-c", str(site.file), "--once"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_the_document_is_one_line_of_json(site: Installation) -> None:
    """Even if nobody has called a tool."""
    done = crewgate("top", "-c", site.file, "--once", "--json", "--local")
    assert json.loads(done.stdout)["not_asked"] == []


def test_a_person_elsewhere_watches_and_ends_a_branch(
    site: Installation, article: Orchestrator
) -> None:
    """Through the control API, with the certificate of an operator."""
    loop = branch(site, article, "faraway", calls=11)
    prefix = site.folder / "ada"
    site.run("ca", "issue", "--role", "operator", "--name", "ada", "--out", str(prefix))
    ca = site.folder / "certs" / "ca.pem"
    how = ("--control", f"https://localhost:{site.port + 2}", "--cert", prefix, "--ca", ca)
    found = json.loads(crewgate("top", *how, "--once", "--json").stdout)
    (row,) = [each for each in found["branches"] if each["branch"] == loop.branch]
    assert (row["rule"], row["rule_step"]) == ("same-call", "refuse")
    assert row["calls_per_minute"] is not None
    assert "search.web" in {each["tool"] for each in found["tools"]}
    with Screen("top", *how, "--filter", "faraway") as screen:
        screen.shows("?refuse")
        screen.press("\x1b[F")
        screen.press("e")
        screen.shows("Type yes and Enter.")
        screen.press("yes\r")
        screen.shows(f"revoked {loop.branch}")
        screen.press(" ")
        screen.press("u")
        screen.shows("Type yes and Enter.")
        screen.press("yes\r")
        screen.shows("the control API quarantines nobody")
        screen.press(" q")
        assert screen.ended() == 0
        assert screen.is_given_back
