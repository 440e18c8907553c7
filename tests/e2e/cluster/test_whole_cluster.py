"""Three machines, the person at the first: what is asked there is asked of all."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from blocking_clients import OK, REVOKED, Caller, becomes
from cluster_gateways import SECONDS, gateways, owner_of, stopped
from command_process import crewgate
from installation import Installation, Premises, wait_until

from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.log import log_files
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.checkpoints.verification import verify
from crewgate.cli import held_checkpoints
from crewgate.config.load import load
from crewgate.issuer import Orchestrator, SubAgent


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """Each with a ledger of its own; the first has the CA, and so the control API."""
    with gateways(tmp_path_factory.mktemp("three"), 3) as found:
        yield found


@pytest.fixture
def article(three: list[Installation]) -> Iterator[Orchestrator]:
    """It mints on the first machine; its tokens are good on all."""
    with Orchestrator.from_config(three[0].file, crew="article") as found:
        yield found


def name_of(machine: Premises) -> str:
    with owner_of(machine) as owner:
        return owner.cluster().name


def said(machine: Premises, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return crewgate(*arguments, "-c", machine.file)


def looping(three: list[Installation], article: Orchestrator, role: str) -> SubAgent:
    """A branch that calls over the second machine only."""
    run = article.start_run(credits="10", tools=["search.*"])
    loop = run.spawn(credits="5", tools=["search.*"], role=role)
    with closing(Caller(three[1])) as caller:
        assert [caller.call(loop.token()) for _ in range(3)] == [OK] * 3
    return loop


def test_a_machine_cannot_sign_its_past_anew(three: list[Installation], tmp_path: Path) -> None:
    """The others know its checkpoints, also if a person has its key."""
    first, names = three[0], sorted(name_of(machine) for machine in three[1:])
    config = load(first.file)

    def keepers() -> set[str]:
        return {each.holder for each in held_checkpoints.ask(config).checkpoints if each.since}

    wait_until(lambda: keepers() == {*names}, SECONDS)
    found = first.ask("audit", "verify")
    assert (found["findings"], found["not_asked"]) == ([], [])
    assert sorted(found["machines"]) == names
    held, copy = held_checkpoints.ask(config).checkpoints, tmp_path / "audit"
    shutil.copytree(config.audit.folder, copy)
    for path in log_files(copy):
        path.unlink()
    path = audit_folder.files(copy)[0]
    path.write_bytes(path.read_bytes().replace(b'"time"', b'"tide"', 1))
    key = CheckpointKey.load(config.state)
    CheckpointKeeper(copy, tmp_path, key, config.name).take()
    assert verify(copy, {key.public}, is_pruned=False).is_whole
    whys = {each.why for each in verify(copy, {key.public}, held, is_pruned=False).findings}
    for name in names:
        assert any(f"which {name} has known since" in why for why in whys)


def test_a_loop_on_another_machine_is_found_and_ended(
    three: list[Installation], article: Orchestrator
) -> None:
    """`tree` shows it with its machine; `revoke` takes the beginning of its id, and no crew."""
    first, second, third = three
    names = [name_of(machine) for machine in three]
    loop = looping(three, article, "looper")
    tree = first.ask("tree")
    assert (tree["machines"], tree["not_asked"]) == ([names[0], *sorted(names[1:])], [])
    (row,) = [each for each in tree["branches"] if each["branch"] == loop.branch]
    assert [each["machine"] for each in row["machines"]] == [names[1]]
    assert row["spent_micro"] == 3_000
    assert f"on {names[1]} (0.003)" in " ".join(first.run("tree").split())
    live = first.ask("top", "--once")
    assert live["machines"] == tree["machines"]
    assert {each["tool"] for each in live["tools"]} == {"search.web"}
    (seen,) = [each for each in live["branches"] if each["branch"] == loop.branch]
    assert (seen["spent_micro"], seen["calls_per_minute"]) == (3_000, 0)
    here = said(first, "tree", "--local", "--json")
    assert loop.branch not in here.stdout
    assert json.loads(here.stdout)["machines"] == [names[0]]
    there = json.loads(said(first, "tree", "--machine", names[1], "--json").stdout)
    assert loop.branch in {each["branch"] for each in there["branches"]}
    done = first.run("revoke", loop.branch[:13], "--reason", "the same page again")
    assert done.startswith(f"revoked {loop.branch} of crew article and all below it")
    with closing(Caller(second)) as caller:
        becomes(caller, loop.token(), REVOKED, OK)
    wait_until(lambda: _revocation(third, loop.branch)["on"] == 3, SECONDS)
    for machine in three:
        found = _revocation(machine, loop.branch)
        assert (found["origin"], found["by"]) == (names[0], "owner")
        assert (found["reason"], found["role"]) == ("the same page again", "looper")
    assert "the same page again" in third.run("revocations")
    listed = third.ask("audit", "--revocations", "--branch", loop.branch)["revocations"]
    by = {each["machine"]: each["by"] for each in listed}  # the third has never seen the branch
    assert by == {names[0]: "owner", names[1]: f"gateway/{names[0]}"}


def _revocation(machine: Premises, branch: str) -> dict[str, object]:
    found = machine.ask("revocations", "--crew", "article")["revocations"]
    (row,) = [each for each in found if each["name"] == branch]
    assert isinstance(row, dict)
    return row


def test_a_name_or_a_whole_id_needs_no_crew(
    three: list[Installation], article: Orchestrator
) -> None:
    """Of several live branches with a name, none is taken; the candidates are listed."""
    first = three[0]
    one, other = (looping(three, article, "worker") for _ in range(2))
    refused = said(first, "revoke", "article/worker")
    assert (refused.returncode, refused.stdout) == (2, "")
    for loop in (one, other):
        listed = f"{loop.branch}  article/worker  live  on {name_of(three[1])}"
        assert listed in refused.stderr
    assert first.ask("revoke", one.branch)["crew"] == "article"
    ended = first.ask("revoke", "article/worker")
    assert ended["branch"] == other.branch
    assert "knows a live branch article/worker" in said(first, "revoke", "article/worker").stderr


def test_all_of_it_works_over_the_control_api(
    three: list[Installation], article: Orchestrator
) -> None:
    """For a person elsewhere with the certificate of an operator."""
    first = three[0]
    names = sorted(name_of(machine) for machine in three)
    prefix = first.folder / "ada"
    first.run("ca", "issue", "--role", "operator", "--name", "ada", "--out", str(prefix))
    url = f"https://localhost:{first.port + 2}"
    how = ("--control", url, "--cert", str(prefix), "--ca", str(first.folder / "certs" / "ca.pem"))

    def ask(*arguments: str) -> dict[str, object]:
        done = crewgate(*arguments, *how, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    loop, other = (looping(three, article, "remote-worker") for _ in range(2))
    tree = ask("tree")
    assert sorted(tree["machines"]) == names  # type: ignore[call-overload]
    assert loop.branch in str(tree["branches"])
    assert ask("revoke", loop.branch[:13], "--reason", "too slow")["crew"] == "article"
    assert ask("revoke", other.branch)["branch"] == other.branch
    (row,) = [
        each
        for each in ask("revocations")["revocations"]  # type: ignore[attr-defined]
        if each["name"] == loop.branch
    ]
    assert (row["by"], row["reason"]) == ("operator/ada", "too slow")
    with closing(Caller(three[2])) as caller:
        becomes(caller, loop.token(), REVOKED, OK)

    def audit() -> list[dict[str, object]]:
        found = ask("audit", "--role", "remote-worker", "--since", "1h", "--limit", "100")["calls"]
        assert isinstance(found, list)
        return found

    wait_until(lambda: len(audit()) >= 7, SECONDS)  # the last line is written after the answer
    assert {row["machine"] for row in audit()} == {name_of(three[1]), name_of(three[2])}
    one = ask("audit", "--branch", other.branch[:13], "--by", "branch", "--machine", names[0])
    assert one["machines"] == names[:1]
    status = ask("status")
    assert [each["machine"] for each in status["machines"]] == [  # type: ignore[attr-defined]
        each for each in names if each != name_of(first)
    ]


def test_a_receipt_counts_the_runs_of_a_subject_on_all_machines(
    three: list[Installation], article: Orchestrator
) -> None:
    """Each once, wherever they have called; and none again."""
    first, second, third = three
    subject = "user:eve"
    runs = [article.start_run(credits="1", tools=["search.*"], subject=subject) for _ in range(3)]
    for machine, some in ((second, runs[:2]), (third, runs[1:])):
        with closing(Caller(machine)) as caller:
            assert [caller.call(run.token()) for run in some] == [OK] * 2
    receipt = first.ask("revoke", "--subject", subject)
    assert (receipt["runs_ended"], receipt["runs_unasked"]) == (3, 0)
    assert "ended no live run;" in first.run("revoke", "--subject", subject)


def test_status_shows_each_machine(three: list[Installation]) -> None:
    """In words and as a document; one alone if it is named."""
    first, second, third = three
    names = {name_of(second), name_of(third)}
    found = first.ask("status")
    assert {each["machine"] for each in found["machines"]} == names
    assert all(each["ready"] for each in found["machines"])
    words = first.run("status")
    assert all(f"machine {name}: ready" in words for name in names)
    assert "machines" not in first.ask("status", "--local")
    one = json.loads(said(first, "status", "--machine", name_of(third), "--json").stdout)
    assert [each["machine"] for each in one["machines"]] == [name_of(third)]
    unknown = said(first, "status", "--machine", "gw-99")
    assert (unknown.returncode, "no machine 'gw-99'" in unknown.stderr) == (2, True)


def test_the_audit_of_all_machines_is_one(three: list[Installation], article: Orchestrator) -> None:
    """Each row says where; sums are of all; one call is explained wherever it was made."""
    first, _, third = three
    names = [name_of(machine) for machine in three]
    loop = looping(three, article, "audited")
    with closing(Caller(third)) as caller:
        assert caller.call(loop.token()) == OK

    def calls(*more: str) -> list[dict[str, object]]:
        found = first.ask("audit", "--branch", loop.branch[:13], *more)
        assert found["not_asked"] == []
        rows = found["calls"]
        assert isinstance(rows, list)
        return rows

    wait_until(lambda: len(calls()) == 4, SECONDS)  # the last line is written after the answer
    assert [row["machine"] for row in calls()] == [names[1]] * 3 + [names[2]]
    assert calls("--local") == []
    assert len(calls("--machine", names[2])) == 1
    assert [row["machine"] for row in calls("--limit", "2")] == names[1:]
    (group,) = first.ask("audit", "--role", "audited", "--by", "role")["groups"]
    assert (group["calls"], group["cost_micro"]) == (4, 4_000)
    table = first.run("audit", "--branch", "article/audited")
    assert f"files, 0.0 MiB of {names[0]}, " in " ".join(table.split())
    assert table.count(names[1]) >= 3
    request = str(calls()[-1]["request"])
    chain = first.run("audit", "explain", request)
    assert f"on {names[2]}" in chain
    assert said(first, "audit", "explain", request, "--local").returncode == 1
    assert first.ask("audit", "--watch")["machines"] == [names[0], *sorted(names[1:])]
    assert first.ask("audit", "--connections")["not_asked"] == []


def test_a_machine_that_does_not_answer_is_named(
    three: list[Installation], article: Orchestrator
) -> None:
    """Stopped or dead; the rows of the others come, and the exit status says that some lack."""
    first, _, third = three
    loop, name = looping(three, article, "lonely"), name_of(third)
    with stopped(third):
        for command in (("tree",), ("revocations",), ("status",), ("audit", "--limit", "0")):
            done = said(first, *command, "--json")
            assert done.returncode == 1
            (missing,) = json.loads(done.stdout)["not_asked"]
            assert (missing["machine"], missing["why"]) == (name, "no answer in time")
        assert loop.branch in said(first, "tree").stdout
        done = said(first, "revoke", "article/lonely", "--until", "local")
        assert done.returncode == 2
        assert f"machine {name} did not answer: no answer in time" in done.stderr
        assert f"because {name} did not answer; write the id" in done.stderr
        done = said(first, "revoke", loop.branch[:13], "--until", "local")
        assert done.returncode == 0
    third.stop()
    try:
        done = said(first, "tree")
        assert done.returncode == 1
        assert f"machine {name} did not answer: Connection refused" in done.stdout
        assert loop.branch in done.stdout
    finally:
        third.serve()
    wait_until(lambda: said(first, "tree").returncode == 0, SECONDS)
