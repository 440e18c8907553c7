"""`crewgate audit replay` and `verify-export`, as typed, on a machine without a running gateway."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, burned, deny, grant, opening, permit, rule_step
from click.testing import CliRunner, Result

from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.replay import verification
from crewgate.audit.replay.branch_replay import BranchSnapshot
from crewgate.audit.replay.cover_text import changed_text, unsigned_text
from crewgate.audit.writer import AuditWriter, RotationPolicy
from crewgate.cli import main
from crewgate.cli.output import export_report, tables
from crewgate.cli.output.audit_replay import rule_text
from crewgate.config.load import load
from crewgate.core.audit.records import RevocationRecord, WatchRecord
from crewgate.version import __version__

RUN, BELOW = "7b678c5d-f141-4370-876d-3542bbbac79a", "922720f5-a340-4e6c-9258-b186566f9caa"
END = RevocationRecord(
    crew="article", orchestrator="article/one", process="pid_1", role="writer", branch=RUN,
    time=NOON + timedelta(seconds=20), target="branch", id=RUN, by="operator/ada",
    reason="it runs in circles", cuts=2,
)  # fmt: skip
WATCH = WatchRecord(
    time=NOON + timedelta(seconds=9), crew="article", orchestrator="article/one", step="strike",
    was="observe", level="throttle", in_force="throttle", by="watch", measure="grants", value=90,
    limit=60,
)  # fmt: skip


class Site(NamedTuple):
    """A configuration, and the public key of its machine."""

    config: Path
    key: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert CliRunner().invoke(main, ["init", str(folder / "gw")]).exit_code == 0
    return folder / "gw" / "crewgate.toml"


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Iterator[Site]:
    """An incident: a branch repeats itself, a rule refuses it, and a person ends its run."""
    text = made.read_text().replace('state = "state"', f'state = "{tmp_path}"')
    path = made.with_name(f"{tmp_path.name}.toml")
    path.write_text(text.replace('folder = "state/audit"', f'folder = "{tmp_path}/audit"'))
    config = load(path)
    rotation = RotationPolicy()
    worker = AuditWriter(config.audit.folder, "worker-0", rotation, reserved_bytes=0)
    agent = AuditWriter(config.audit.folder, "agent", rotation, reserved_bytes=0)
    for record in (
        grant(ROOT, "writer", 0), permit(2, ROOT, "writer", "search.web", 10_000),
        grant(CHILD, "researcher", 3), permit(5, CHILD, "researcher", "search.web", 20_000),
        opening(6, CHILD, "researcher", "search.stream", "stream-1"),
        burned(7, CHILD, "researcher", "search.web", "burned-1"),
        rule_step(8, CHILD, "researcher", "loops", "refuse", 5),
        deny(9, CHILD, "researcher", "search.web", "loop-detected"),
        permit(10, OTHER, "writer", "search.web", 5),
    ):  # fmt: skip
        names = {ROOT: RUN, CHILD: BELOW}
        branch = names.get(record.branch, record.branch)
        above = (RUN,) if branch == BELOW else ()
        worker.write(msgspec.structs.replace(record, branch=branch, ancestry=above))
    agent.write(WATCH)
    agent.write(END)
    key = CheckpointKey.load_or_make(config.state)
    keeper = CheckpointKeeper(config.audit.folder, config.state, key, config.name)
    keeper.take()
    yield Site(path, key.public)
    keeper.close()
    worker.close()
    agent.close()


def crewgate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_steps_and_what_they_came_to_are_printed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_WIDTH", 80)
    found = crewgate("replay", "-c", site.config, RUN)
    assert found.exit_code == 0, found.output
    assert (
        found.stdout
        == f"""\
run {RUN} of crew article
2026-11-24 (UTC)
12:00:01.000  7b678c5d  grant of 2.50 credits for search.*, until 12:15:00
12:00:02.001  7b678c5d  search.web: done, 0.01 credits, 2 ms
12:00:04.000  922720f5  grant of 2.50 credits for search.*, until 12:15:03
12:00:05.001  922720f5  search.web: done, 0.02 credits, 2 ms
12:00:06.000  922720f5  search.stream: stream began
12:00:07.000  922720f5  search.web: reservation of 0.01 credits burned
                        (owner-died)
12:00:08.000  922720f5  rule loops refused at 5 (limit 5)
12:00:09.000            minting watch of article/one: strike, observe to
                        throttle; grants 90 over 60
12:00:09.000  922720f5  search.web: refused, loop-detected
12:00:20.000  7b678c5d  branch {RUN} revoked by
                        operator/ada: it runs in circles; 2 calls ended

after the last step
  7b678c5d writer: revoked, 1 call, 0 refused, 0.01 spent
    922720f5 researcher: revoked, 1 call, 1 refused, 0.03 spent, 1 open, rule
      loops: refuse
"""
    )


def test_a_range_and_a_branch_narrow_it(site: Site) -> None:
    found = crewgate("replay", "-c", site.config, BELOW, "--since", "2026-11-24T12:00:08Z",
                     "--until", "2026-11-24T12:00:09Z")  # fmt: skip
    lines = found.stdout.splitlines()
    assert lines[2:4] == ["12:00:08.000  922720f5  rule loops refused at 5 (limit 5)", ""]
    found = crewgate("replay", "-c", site.config, RUN, "--since", "2026-11-25T12:00:00Z")
    assert found.stdout == (
        f"the audit has no line of run {RUN} of crew article in this time; without RUN, "
        "`crewgate audit replay` lists the runs\n"
    )


@pytest.mark.parametrize(
    ("step", "mode", "text"),
    [("end", "observe", "rule loops: would end"), ("warn", "observe", "rule loops: warn"),
     ("end", "enforce", "rule loops: end")],
)  # fmt: skip
def test_a_rule_that_observes_would_have_done_it(step: str, mode: str, text: str) -> None:
    assert rule_text(BranchSnapshot(rule="loops", rule_step=step, rule_mode=mode)) == text


def test_json_has_the_steps(site: Site) -> None:
    found = json.loads(crewgate("replay", "-c", site.config, RUN, "--json").stdout)
    assert found["crew"] == "article"
    assert [step["mark"] for step in found["steps"]] == [
        "grant", "call", "grant", "call", "open", "burned", "rule", "watch", "refused",
        "revocation",
    ]  # fmt: skip
    assert [branch["branch"] for branch in found["branches"]] == [RUN, BELOW]


def test_without_a_run_the_runs_are_listed(site: Site) -> None:
    found = json.loads(crewgate("replay", "-c", site.config, "--json").stdout)
    runs = {run["run"]: run for run in found["runs"]}
    assert {*runs} == {RUN, OTHER}
    run = runs[RUN]
    assert (run["branches"], run["calls"], run["refused"], run["rule_steps"]) == (2, 2, 1, 1)
    assert (run["spent_micro"], run["by"], run["why"]) == (
        40_000, "operator/ada", "it runs in circles",
    )  # fmt: skip
    text = crewgate("replay", "-c", site.config, "--crew", "article").stdout
    assert "revoked by operator/ada: it runs in circles" in text
    assert (
        "no run" in crewgate("replay", "-c", site.config, "--since", "2099-01-01T00:00:00Z").stderr
    )


def test_an_export_is_written_and_verifies(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    found = crewgate("replay", "-c", site.config, RUN, "--html", path)
    assert found.exit_code == 0, found.output
    assert f"written to {path}" in found.stdout
    assert path.stat().st_mode & 0o777 == 0o600
    report = crewgate("verify-export", path, "--key", site.key)
    assert report.exit_code == 0, report.output
    text = " ".join(report.stdout.split())
    assert f"run {RUN} of crew article" in text
    assert f"key {site.key} 10 lines of the run, as stated at" in text
    assert re.search(r"its checkpoints until [-0-9: ]+ UTC cover 10 of these lines", text)
    assert text.endswith("result the lines are as the machines have signed them")


def test_the_report_about_a_part_of_a_run_says_so(site: Site, tmp_path: Path) -> None:
    """Else nobody would miss the revocation that a range leaves out."""
    path = tmp_path / "run.html"
    until = f"{NOON + timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}"
    some = ["--since", f"{NOON:%Y-%m-%dT%H:%M:%SZ}", "--until", until]
    assert crewgate("replay", "-c", site.config, RUN, *some, "--html", path).exit_code == 0
    report = crewgate("verify-export", path, "--key", site.key)
    assert report.exit_code == 0, report.output
    text = " ".join(report.stdout.split())
    assert f"from {tables.utc(NOON)} UTC: the file has no earlier lines" in text
    last = tables.utc(NOON + timedelta(seconds=5))
    assert f"until {last} UTC: the file has no later lines" in text


def test_an_export_that_was_changed_is_said_so_with_status_1(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    crewgate("replay", "-c", site.config, RUN, "--html", path)
    path.write_text(path.read_text().replace("operator/ada", "operator/eve"))
    report = crewgate("verify-export", path, "--key", site.key)
    assert report.exit_code == 1
    assert "WRONG" in report.stdout
    assert "a line was changed, removed, inserted or moved" in " ".join(report.stdout.split())
    found = json.loads(crewgate("verify-export", path, "--key", site.key, "--json").stdout)
    assert found["findings"]
    assert crewgate("verify-export", path, "--key", "A" * 43).exit_code == 1


def test_a_page_of_another_version_is_said_first_with_status_1(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a page shows may be forged; a person sees the steps of the lines with --steps."""
    path = tmp_path / "run.html"
    crewgate("replay", "-c", site.config, RUN, "--html", path)
    path.write_text(path.read_text().replace("<td>search.web: done", "<td>search.web: forged"))
    monkeypatch.setattr(verification, "__version__", "9.0.0")
    monkeypatch.setattr(export_report, "__version__", "9.0.0")
    report = crewgate("verify-export", path, "--key", site.key, "--steps")
    assert report.exit_code == 1
    text = " ".join(report.stdout.split())
    assert text.startswith("page NOT verified. Only the lines of the audit in this file were")
    assert f"verify the file with Crewgate {__version__}, or add --steps" in text
    assert "result the lines are as the machines have signed them; the page was NOT" in text
    assert "search.web: done, 0.01 credits" in text
    assert "forged" not in text
    found = json.loads(crewgate("verify-export", path, "--key", site.key, "--json").stdout)
    assert (found["made_by"], found["compares_page"]) == (__version__, False)


def test_a_version_that_no_machine_has_signed_is_not_recommended(
    site: Site, tmp_path: Path
) -> None:
    """A person who changes the file chooses the version that it names."""
    path = tmp_path / "run.html"
    crewgate("replay", "-c", site.config, RUN, "--html", path)
    text = path.read_text()
    named = f'"made_by":"{__version__}"'
    assert named in text
    path.write_text(text.replace(named, '"made_by":"0.1.0"'))
    report = crewgate("verify-export", path, "--key", site.key)
    assert report.exit_code == 1
    said = " ".join(report.stdout.split())
    assert "it has signed that Crewgate" in said
    assert "the file says that Crewgate 0.1.0 wrote the page" in said
    assert "verify the file with" not in said


def test_the_steps_of_changed_lines_are_not_shown(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    crewgate("replay", "-c", site.config, RUN, "--html", path)
    whole = json.loads(
        crewgate("verify-export", path, "--key", site.key, "--steps", "--json").stdout
    )
    assert len(whole["steps"]) == 10
    path.write_text(path.read_text().replace("operator/ada", "operator/eve"))
    report = crewgate("verify-export", path, "--key", site.key, "--steps")
    assert report.exit_code == 1
    assert "operator/eve" not in report.stdout
    assert "the steps are not shown, because the lines are not as" in report.stdout


@pytest.mark.parametrize(
    ("count", "unsigned", "changed"),
    [
        (
            1,
            "no checkpoint covers 1 of these lines yet: it is newer than the newest checkpoint",
            "1 of these lines is NOT as the machine signed it: its file has changed",
        ),
        (
            2,
            "no checkpoint covers 2 of these lines yet: they are newer than the newest checkpoint",
            "2 of these lines are NOT as the machine signed them: their files have changed",
        ),
    ],
)
def test_lines_that_no_checkpoint_covers_are_said(count: int, unsigned: str, changed: str) -> None:
    assert unsigned_text(count) == unsigned
    assert changed_text(count) == changed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["replay", "--html", "x.html"], "--html needs RUN"),
        (["replay", RUN, "--since", "yesterday"], "not a time"),
        (["replay", "run 1"], ""),
    ],
)
def test_bad_input_is_refused(site: Site, arguments: list[str], why: str) -> None:
    found = crewgate(*arguments, "-c", site.config)
    assert found.exit_code != 0
    assert why in found.output


def test_another_file_or_key_is_refused(site: Site) -> None:
    found = crewgate("verify-export", site.config, "--key", site.key)
    assert found.exit_code == 2
    assert "it is no exported replay" in found.output
    assert "--key has 43" in crewgate("verify-export", site.config, "--key", "x").output
    assert crewgate("verify-export", site.config).exit_code == 2
