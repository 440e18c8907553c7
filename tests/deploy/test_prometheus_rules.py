"""The rules of deploy/prometheus: Prometheus takes them, and they name what exists."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from promql_names import labels_of, named

from crewgate.cli import main

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "crewgate.rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {
    rule["record"]: set(rule["record"].partition(":")[0].split("_")) for rule in RULES
    if "record" in rule
}  # fmt: skip
_LABEL = re.compile(r"\$labels\.(\w+)")
_COMMAND = re.compile(r"`(crewgate [^`]+)`")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="prometheus is not installed"
)


@needs_promtool
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "crewgate.rules.yml"),
        ("test", "rules", "crewgate.rules.test.yml"),
    ],
    ids=["config", "rules", "alerts"],
)
def test_prometheus_takes_the_files(words: tuple[str, ...]) -> None:
    """And each alert fires when it must, and not otherwise."""
    done = subprocess.run(
        ["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_rule_names_what_exists(rule: dict[str, Any]) -> None:
    """Metrics, labels and values. A rule with a wrong name would never fire."""
    assert named(rule["expr"], RECORDED).faults == []
    if "record" in rule:
        assert labels_of(rule["expr"], RECORDED) - {"le"} <= RECORDED[rule["record"]]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Where it is, with labels that the result has; the commands in its text exist."""
    text = " ".join(rule["annotations"].values())
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "$labels.instance" in text
    assert set(_LABEL.findall(text)) <= labels_of(rule["expr"], RECORDED)
    for command in _COMMAND.findall(text):
        assert _is_command(command), command


def test_the_how_to_page_has_each_alert() -> None:
    """With its subject; the table has the first part of each name."""
    page = (FOLDER.parents[1] / "docs" / "how-to" / "monitor.md").read_text()
    section = page.partition("\n## Get alerts\n")[2].partition("\n## ")[0]
    starts = tuple(re.findall(r"`(Crewgate\w+)`", section))
    assert [rule["alert"] for rule in ALERTS if not rule["alert"].startswith(starts)] == []
    assert [
        each for each in starts if not any(rule["alert"].startswith(each) for rule in ALERTS)
    ] == []


def test_each_alert_has_a_test() -> None:
    """In which it fires."""
    tested = (FOLDER / "crewgate.rules.test.yml").read_text()
    assert [rule["alert"] for rule in ALERTS if f'"{rule["alert"]}"' not in tested] == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("rate(crewgate_request_total[5m])", "no metric crewgate_request_total"),
        ('crewgate_ready{crew="a"}', "crewgate_ready has no label crew"),
        ("sum by (branch) (crewgate_ready)", "no metric has the label branch"),
        ('crewgate_requests_total{outcome="upstream-eror"}', "no outcome is upstream-eror"),
        ('crewgate_requests_limited_total{limit=~"flod|head-size"}', "no limit is flod"),
    ],
)
def test_a_wrong_name_is_found(query: str, fault: str) -> None:
    """The check can fail."""
    assert named(query).faults == [fault]


def _is_command(text: str) -> bool:
    words = shlex.split(re.sub(r"\{\{.*?\}\}", "X", text))[1:]
    command: click.Command | None = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(click.Context(command), words.pop(0))
    if command is None:
        return False
    options = {name for each in command.params for name in each.opts}
    works_alone = not isinstance(command, click.Group) or command.invoke_without_command
    return works_alone and all(word in options for word in words if word.startswith("--"))
