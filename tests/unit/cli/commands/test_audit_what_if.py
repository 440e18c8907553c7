"""`crewgate audit what-if` says what rules would have done, to a person and to a script."""

import json
import os
from pathlib import Path

import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, permit
from click.testing import CliRunner, Result

from crewgate.audit.folder import create
from crewgate.cli import main
from crewgate.cli.commands.init import write_all
from crewgate.config.load import load
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record, ServiceEvent

ENFORCING = '[loops]\nmode = "enforce"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that observes, and an audit with a branch that ran in circles."""
    path = write_all(tmp_path / "gate", 8443)
    facts = {"answer_digest": "00000000000000bb", "status": 200, "machine": "gw-1"}
    calls: list[Record] = [
        permit(
            0, ROOT, "lead", "publish.post", 10_000, call_digest="0" * 14 + "cc", machine="gw-1"
        ),
        permit(1, OTHER, "drafter", "search.web", 10_000),
        ServiceEvent(time=NOON, event="start", machine="gw-1"),
        *(
            permit(
                second,
                CHILD,
                "researcher",
                "search.web",
                10_000,
                call_digest="0" * 14 + "aa",
                **facts,
            )
            for second in range(2, 252)
        ),
    ]
    start = round(NOON.timestamp() * 1e9)
    descriptor, _ = create(load(path).audit.folder, "worker-1", start)
    os.write(descriptor, b"".join(map(encode, calls)) + b'{"kind":"call","ti')
    os.close(descriptor)
    return path


def run(config: Path, *arguments: str) -> Result:
    """The command as typed."""
    return CliRunner().invoke(main, ["audit", "what-if", "-c", str(config), *arguments])


def rules_file(config: Path, text: str) -> str:
    path = config.parent / "rules.toml"
    path.write_text(text)
    return str(path)


def test_the_own_rules_are_tried_as_if_they_were_in_force(config: Path) -> None:
    """The strongest step of each branch, what it saves, and what limits the answer."""
    result = run(config)
    assert result.exit_code == 0
    head, row, *sums = result.stdout.splitlines()
    assert head.split()[-4:] == ["saved", "calls", "saved", "credits"]
    assert row.split() == [
        "2026-11-24", "12:00:21.000", "end", "article/researcher", CHILD, "same-call", "20",
        "search.web", "request-21", "241", "2.41",
    ]  # fmt: skip
    assert sums[:3] == [
        "252 permitted calls from 2026-11-24 12:00:00 to 2026-11-24 12:04:11 UTC, for 2.52 credits",
        "branches: 1 ended, 0 refused a call, 0 warned",
        "saved: 241 calls, 2.41 credits",
    ]
    assert "1 call had no digest" in result.stdout
    assert "Skipped 1 incomplete or damaged line." in result.stdout


def test_other_rules_are_tried_from_a_file(config: Path) -> None:
    path = rules_file(config, ENFORCING + "warn = 2\nrefuse = 3\nend = 5\n")
    found = json.loads(run(config, path, "--json").stdout)
    assert (found["saved_calls"], found["saved_micro"]) == (248, 2_480_000)
    own = [each for each in found["steps"] if each["branch"] == CHILD]
    assert [(each["step"], each["request"]) for each in own] == [
        ("warn", "request-3"), ("refuse", "request-4"), ("end", "request-6"),
    ]  # fmt: skip
    path = rules_file(
        config, '[rule.fast]\nkind = "calls-per-minute"\nmode = "enforce"\nrefuse = 31\n'
    )
    found = json.loads(run(config, path, "--json").stdout)
    assert found["saved_calls"] == 29 + 3 * 30  # the lead's call counts at the run
    assert {each["rule"] for each in found["steps"]} == {"fast"}


def test_rules_that_observe_save_nothing_and_say_so(config: Path) -> None:
    result = run(config, rules_file(config, '[loops]\nmode = "observe"\n'))
    assert "would end" in result.stdout
    assert "saved: 0 calls, 0.00 credits" in result.stdout
    assert 'Rules with mode = "observe" save nothing: same-answer' in result.stdout


def test_names_that_the_configuration_lacks_are_told(config: Path) -> None:
    """A rule with a typo would find nothing, and look as if all were well."""
    rule = '[rule.a]\nkind = "wall-time"\nend = 5\ncrew = "artcle"\ntools = ["serch.*"]\n'
    result = run(config, rules_file(config, rule))
    assert "Rule a: the configuration has no crew artcle." in result.stdout
    assert "Rule a: serch.* covers no tool of the configuration." in result.stdout
    missing = run(config, str(config.parent / "missing.toml"))
    assert "cannot be read (No such file or directory); write [loops]" in missing.stderr


def test_one_crew_and_one_time_can_be_asked(config: Path) -> None:
    assert "the audit has no such call" in run(config, "--crew", "bd").stdout
    found = json.loads(run(config, "--since", "2026-11-24T12:04:00Z", "--json").stdout)
    assert (found["calls"], found["saved_calls"]) == (12, 3)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("", 'no rule is on: write mode = "enforce" into [loops], or add a [rule.NAME]'),
        ('[loops]\nmode = "enforced"\n', "loops.mode"),
        ('[rule.a]\nkind = "wall-time"\n', "needs a limit: give `warn`, `refuse` or `end`"),
        (ENFORCING + '[crew.a]\ntools = ["a.*"]\n', "crew"),
        ("[loops", "not TOML"),
    ],
)
def test_a_bad_file_of_rules_is_refused(config: Path, text: str, mend: str) -> None:
    """With the file, the key and what to write."""
    result = run(config, rules_file(config, text))
    assert result.exit_code != 0
    assert "rules.toml: " in result.stderr
    assert mend in result.stderr


def test_a_configuration_without_rules_says_what_to_do(config: Path) -> None:
    text = config.read_text().replace('mode = "observe"', 'mode = "off"')
    config.write_text(text)
    result = run(config)
    assert result.exit_code != 0
    assert "no rule on branches is on; name a file that has some" in result.stderr
