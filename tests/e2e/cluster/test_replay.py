"""Two machines have recorded one run: any of them replays it, and its export proves it."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from blocking_clients import OK, REVOKED, Caller, becomes
from cluster_gateways import SECONDS, gateways, owner_of, stopped
from command_process import crewgate
from installation import Installation, Premises, wait_until

from crewgate.audit import folder as audit_folder
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.replay import verification
from crewgate.config.load import load
from crewgate.issuer import Orchestrator, SubAgent


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Installation]]:
    """They begin a new audit file after about a hundred calls."""

    def adapt(machine: Installation) -> None:
        machine.edit('folder = "state/audit"', 'folder = "state/audit"\nrotate_bytes = 65536')

    with gateways(tmp_path_factory.mktemp("two"), 2, adapt=adapt) as found:
        yield found


@pytest.fixture(scope="module")
def incident(two: list[Installation]) -> tuple[SubAgent, SubAgent]:
    """A run that called on both machines, over several files and a kill, and was then ended."""
    with Orchestrator.from_config(two[0].file, crew="article") as article:
        run = article.start_run(credits="10", tools=["search.*"])
        below = run.spawn(credits="5", tools=["search.*"], role="researcher")
        other = article.start_run(credits="1", tools=["search.*"])
        for machine in two:
            with closing(Caller(machine)) as caller:
                assert caller.call(run.token()) == caller.call(below.token()) == OK
                assert caller.call(other.token()) == OK
        with closing(Caller(two[1])) as caller:
            while len(_files(two[1], "worker-0")) < 2:
                assert caller.call(below.token()) == OK
        _kill_worker(two[1])
        with closing(Caller(two[1])) as caller:
            becomes(caller, below.token(), OK)
        two[1].run("revoke", run.branch, "--crew", "article", "--reason", "it runs in circles")
        with closing(Caller(two[0])) as caller:
            becomes(caller, below.token(), REVOKED, OK)
    return run, below


def _kill_worker(machine: Installation) -> None:
    """Kill it, and wait until the next one has an audit file of its own."""
    files = len(_files(machine, "worker-0"))
    [process] = machine.children("gateway")
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(_files(machine, "worker-0")) > files, SECONDS)


def _files(machine: Premises, process: str) -> list[Path]:
    folder = load(machine.file).audit.folder
    return [path for path in audit_folder.files(folder) if audit_folder.process_of(path) == process]


def name_of(machine: Premises) -> str:
    with owner_of(machine) as owner:
        return owner.cluster().name


def key_of(machine: Premises) -> str:
    return CheckpointKey.load(load(machine.file).state).public


def steps(machine: Premises, run: str) -> list[tuple[str, str, str]]:
    """Each step as its machine, its kind and its words."""
    found = machine.ask("audit", "replay", run)
    assert found["not_asked"] == []
    return [
        (found["machines"][step["machine"]], step["mark"], step["words"]) for step in found["steps"]
    ]


def test_each_machine_replays_what_all_have_recorded(
    two: list[Installation], incident: tuple[SubAgent, SubAgent]
) -> None:
    run, below = incident
    first, second = map(name_of, two)
    found = steps(two[0], run.branch)
    assert sorted(found) == sorted(steps(two[1], run.branch))
    kinds = Counter((machine, mark) for machine, mark, _ in found)
    assert kinds[first, "call"] == 2
    assert kinds[second, "call"] > 50
    assert kinds[first, "grant"] == 2
    assert kinds[first, "refused"] >= 1
    revoked = {machine: words for machine, mark, words in found if mark == "revocation"}
    assert revoked[second].startswith(f"branch {run.branch} revoked by owner: it runs in circles")
    assert f"revoked by gateway/{second}" in revoked[first]
    part = {step for step in steps(two[0], below.branch) if step[1] == "call"}
    assert part < {step for step in found if step[1] == "call"}
    text = two[0].run("audit", "replay", run.branch)
    assert "clocks of machines can differ" in text
    assert f"{below.branch[:8]} researcher: revoked" in text


def test_the_runs_are_listed_with_their_ends(
    two: list[Installation], incident: tuple[SubAgent, SubAgent]
) -> None:
    found = two[0].ask("audit", "replay")
    (row,) = [each for each in found["runs"] if each["run"] == incident[0].branch]
    assert (row["crew"], row["by"], row["why"]) == ("article", "owner", "it runs in circles")
    assert row["branches"] == 2
    assert row["calls"] >= 5


def test_the_export_proves_the_lines_of_both_machines(
    two: list[Installation], incident: tuple[SubAgent, SubAgent], tmp_path: Path
) -> None:
    """Once the machines have signed the last lines, checkpoints cover each of them."""
    path, keys = tmp_path / "run.html", [key_of(machine) for machine in two]

    def is_covered() -> bool:
        two[0].run("audit", "replay", incident[0].branch, "--html", str(path))
        report = verification.verify_export(path.read_bytes(), keys)
        assert report.is_proven, report.findings
        return not any(each.unsigned for each in report.machines)

    wait_until(is_covered, SECONDS)
    done = crewgate("audit", "verify-export", *(f"--key={key}" for key in keys), path)
    assert done.returncode == 0, done.stderr
    assert "the lines are as the machines have signed them" in done.stdout


def test_a_changed_audit_is_said_in_the_export(
    two: list[Installation], incident: tuple[SubAgent, SubAgent], tmp_path: Path
) -> None:
    """A person changes a finished file of the second machine."""
    run, path = incident[0].branch, _files(two[1], "worker-0")[0]
    data, export = path.read_bytes(), tmp_path / "run.html"
    path.write_bytes(data.replace(b'"tool":"search.web"', b'"tool":"search.wow"'))
    try:
        two[0].run("audit", "replay", run, "--html", str(export))
    finally:
        path.write_bytes(data)
    report = verification.verify_export(export.read_bytes(), [key_of(each) for each in two])
    changed = {each.machine: each.changed for each in report.machines}
    assert changed[name_of(two[0])] == 0
    assert changed[name_of(two[1])] >= 2


def test_a_machine_that_does_not_answer_is_named(
    two: list[Installation], incident: tuple[SubAgent, SubAgent], tmp_path: Path
) -> None:
    export = tmp_path / "run.html"
    with stopped(two[1]):
        done = crewgate("audit", "replay", incident[0].branch, "-c", two[0].file, "--html", export)
    assert done.returncode == 1
    assert f"machine {name_of(two[1])} did not answer" in done.stderr
    report = verification.verify_export(export.read_bytes(), [key_of(two[0])])
    assert report.is_proven
    assert report.not_asked == [name_of(two[1])]
    missed = verification.verify_export(export.read_bytes(), [key_of(each) for each in two])
    assert missed.findings == [f"no machine with the key {key_of(two[1])} is in it"]
    assert json.loads(crewgate(
        "audit", "replay", incident[0].branch, "-c", two[0].file, "--json", "--local"
    ).stdout)["not_asked"] == []  # fmt: skip
