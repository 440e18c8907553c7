"""The reference leaves nothing out: generated parts are complete, written parts still true."""

import re
from types import ModuleType

import pytest
from _generate import commands, http_api, limits, problems, python_api
from _generate.markdown import table, text
from documents import ROOT, anchors

import crewgate.limits
from crewgate.api.endpoints import ENDPOINTS
from crewgate.cli import COMMANDS
from crewgate.core.problem_types import PROBLEMS, RefusingComponent
from crewgate.core.reasons import Reason

# A build with faults on purpose, for tests of the table alone.
OF_TESTS = {"CREWGATE_FAULTS"}


def test_every_command_has_a_section() -> None:
    """In the order of `crewgate --help`, and each option with its help."""
    page = commands.markdown()
    assert re.findall(r"^## crewgate (\w+)$", page, re.MULTILINE) == list(COMMANDS)
    assert "### crewgate ledger reconcile\n" in page
    assert r"| `--until [local\|quorum\|all]` |" in page


def test_every_variable_is_described() -> None:
    """A variable of the environment that the code names stands on the page of the commands."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    named = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"\bCREWGATE_[A-Z]+\b", path.read_text())
    }
    assert named - OF_TESTS == set(re.findall(r"\bCREWGATE_[A-Z]+\b", page))


def test_every_table_of_the_configuration_has_a_section() -> None:
    """As the file writes it; its keys are tested where they are declared."""
    page = anchors(ROOT / "docs" / "reference" / "configuration.md")
    assert {"top-of-the-file", "listener", "ca", "toolname", "toolnameprice"} <= page


def test_every_limit_has_a_row() -> None:
    """With the value that holds, in the unit that its name says."""
    page = limits.markdown()
    names = {
        name
        for name, value in vars(crewgate.limits).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names
    assert "| `token_bytes_max` | 4 | KiB |" in page
    assert "| `leeway_seconds` | 5 | seconds |" in page


def test_the_comments_of_limits_are_read() -> None:
    """A comment is the title of a section, or belongs to one limit."""
    found = limits.sections(
        '"""Bounds."""\n\n# A title. More\n# of it.\na_max = 1  # why a\n'
        "# Before b.\nb_bytes = 2 * 3  # and after\n\n# Another.\nc_max = 4\n"
    )
    assert [section.title for section in found] == ["A title. More of it", "Another"]
    assert found[0].limits == [
        limits.Limit("a_max", "1", "why a"),
        limits.Limit("b_bytes", "2 * 3", "Before b. and after"),
    ]


def test_every_endpoint_has_a_section() -> None:
    """And every link leads to an object on the page."""
    page = http_api.markdown()
    for endpoint in ENDPOINTS:
        assert f"### {endpoint.method} {endpoint.path.replace(':path', '')}\n" in page
    objects = {name.lower() for name in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= objects


def test_the_problems_have_a_row_for_each_problem_and_sender() -> None:
    """And as many cells as its table has columns."""
    pages = [part for part in problems.markdown().split("\n\n") if part.startswith("| HTTP")]
    assert len(pages) == 4
    for sender, page in zip(
        (
            RefusingComponent.GATEWAY,
            RefusingComponent.SERVER,
            RefusingComponent.CONTROL,
            RefusingComponent.PAGE,
        ),
        pages,
        strict=True,
    ):
        head, rule, *rows = (line.split(" | ") for line in page.splitlines())
        assert {len(cells) for cells in (rule, *rows)} == {len(head)}
        found = sorted(cells[1].strip("`") for cells in rows)
        wanted = [each.slug for each in PROBLEMS.values() if sender in each.senders]
        assert found == sorted(wanted)
    assert PROBLEMS["busy"].detail in problems.markdown()
    assert "| 401 | `branch-revoked` | Branch revoked. " in problems.markdown()


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_every_reason_of_a_refusal_has_a_row(reason: Reason) -> None:
    assert f"| `{reason.value}` |" in problems.markdown()


def test_every_public_name_is_described() -> None:
    """Once, where it is exported first."""
    page = python_api.markdown()
    found = re.findall(r"^\.\. auto\w+:: (\S+)$", page, re.MULTILINE)
    assert {"crewgate.Verifier", "crewgate.Permit", "crewgate.issuer.Orchestrator"} <= set(found)
    assert "crewgate.verifier.Verifier" not in found
    assert len(found) == len(set(found))


def test_text_is_shown_as_it_is() -> None:
    """What Markdown would take for markup is escaped, and what is code stays code."""
    assert text("'search.*' of <crew>/x_y, `a*b`") == r"'search.\*' of \<crew\>/x\_y, `a*b`"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
