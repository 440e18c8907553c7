"""How the branch tree looks: whole ids, whole amounts, 80 columns; and as JSON."""

import io
import json

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from crewgate import limits
from crewgate.cli.output.tree import document, show, trees
from crewgate.ipc.cluster_tree import ClusterTreeRow, MachineShare
from crewgate.ipc.cluster_view import ClusterTree, SilentMachine

ROOT = "0199c1d2-0000-7000-8000-000000000001"
CHILD = "0199c1d2-0000-7000-8000-000000000002"
ROWS = [
    ClusterTreeRow(crew="article", branch="", state="live", spent=2_510_000, left=-1),
    ClusterTreeRow(
        crew="article",
        branch=ROOT,
        state="live",
        orchestrator="article/article-1",
        quota=10_000_000,
        spent=2_510_000,
        left=7_490_000,
    ),
    ClusterTreeRow(
        crew="article",
        branch=CHILD,
        state="exhausted",
        parent=ROOT,
        orchestrator="article/article-1",
        role="researcher",
        quota=2_500_000,
        spent=2_490_000,
        burned=10_000,
        left=0,
    ),
    ClusterTreeRow(
        crew="finance", branch="", state="exhausted", spent=5, left=0, left_hour=0, left_day=48
    ),
]


def _one(rows: list[ClusterTreeRow]) -> ClusterTree:
    return ClusterTree(rows, ["gw-1"], "gw-1", [])


def _shown(rows: list[ClusterTreeRow]) -> list[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    for tree in trees(rows):
        console.print(tree)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in output.splitlines()]


def test_a_tree_reads_like_one() -> None:
    """Who spawned whom, with what each spent and what it may still spend."""
    assert _shown(ROWS) == [
        "article  spent 2.51",
        f"└── run {ROOT}",
        "    live 2.51 of 10.00 spent, 7.49 left, article/article-1",
        f"    └── researcher {CHILD}",
        "        exhausted 2.49 of 2.50 spent, 0.00 left, 0.01 burned, article/article-1",
        "finance  spent 0.000005 in all, 0.00 left this hour, 0.000048 left today",
    ]


def test_a_run_that_called_is_still_shown_as_a_run() -> None:
    """Its role is known only from a call of its own, and stands beside the word."""
    row = msgspec.structs.replace(ROWS[1], role="orchestrator")
    assert row.branch == ROOT
    assert _shown([ROWS[0], row])[1] == f"└── run (orchestrator) {ROOT}"


def test_the_deepest_branch_keeps_its_id_whole() -> None:
    """Eight ancestors above it: the id is still on one line of 80 columns, to be copied."""
    ids = [f"0199c1d2-0000-7000-8000-0000000001{n:02}" for n in range(limits.depth_max - 1)]
    rows = [ROWS[0]]
    for parent, branch in zip(["", *ids], ids, strict=False):
        rows.append(
            ClusterTreeRow(
                crew="article", branch=branch, state="live", parent=parent, role="fact-checker"
            )
        )
    lines = _shown(rows)
    assert all(len(line) <= 80 for line in lines)
    for branch in ids:
        assert any(branch in line for line in lines)


def test_a_branch_without_its_parent_is_shown_under_its_crew() -> None:
    """Nothing is lost because something above it is unknown."""
    assert CHILD in "".join(_shown([ROWS[0], ROWS[2]]))


def test_a_branch_without_its_crew_is_not_shown_under_another() -> None:
    """A machine that lies may leave out the row of the crew, first or later."""
    for crew in ("aaa", "zzz"):
        lie = ClusterTreeRow(crew=crew, branch=CHILD, state="live")
        shown = _shown([lie, *ROWS] if crew == "aaa" else [*ROWS, lie])
        assert shown[0 if crew == "aaa" else -3].startswith(crew)


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "\x1b[31m"])
@pytest.mark.parametrize("branch", ["", CHILD])
def test_names_are_text_not_markup(name: str, branch: str) -> None:
    """Even a name that no token can carry cannot colour the terminal or hide a line."""
    shown = "".join(_shown([ClusterTreeRow(crew=name, branch=branch, state="live")]))
    assert "\x1b" not in shown
    assert name.replace("\x1b", "\\x1b") in shown


def test_the_document_has_every_field() -> None:
    """Amounts in micro-credits; null, not a sentinel, where nothing bounds or names it."""
    found = document(_one(ROWS))
    assert [crew["crew"] for crew in found["crews"]] == ["article", "finance"]
    assert found["crews"][0]["left_micro"] is None
    root, child = found["branches"]
    assert (root["parent"], root["role"], root["spent_micro"]) == (None, None, 2_510_000)
    assert (child["parent"], child["state"], child["left_micro"]) == (ROOT, "exhausted", 0)
    assert set(root) == set(child)


def test_in_a_pipe_no_line_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """What grep finds is whole."""
    where = {"a-machine-with-a-long-name": 5, "another-machine-with-a-long-name": 5}
    crew = ClusterTreeRow("article", "", "live")
    branch = ClusterTreeRow(
        "article", "b" * 36, "live", quota=9, spent=1, leased=10, leased_on=where
    )
    show(_one([crew, branch]), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "another-machine-with-a-long-name" in lines[-1]


def test_a_branch_that_an_overrun_has_ended_says_so() -> None:
    """In words and as a number."""
    ended = msgspec.structs.replace(ROWS[2], state="revoked", overrun=420_000)
    rows = [*ROWS[:2], ended]
    (tree,) = trees(rows)
    console = Console(file=io.StringIO(), width=200)
    console.print(tree)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "spent, 0.01 burned, ended: answers stated 0.42 more than was reserved" in shown
    assert [row["overrun_micro"] for row in document(_one(rows))["branches"]] == [0, 420_000]


def test_a_branch_of_several_machines_says_what_it_spent_on_each() -> None:
    """And how much each may spend, if each has a ledger of its own."""
    shares = tuple(MachineShare(f"gw-{n}", "live", n * 10_000, 0, 0) for n in (1, 2))
    row = msgspec.structs.replace(ROWS[2], machines=shares, quotas=2)
    (tree,) = trees([ROWS[0], row], is_one=False)
    console = Console(file=io.StringIO(), width=200)
    console.print(tree)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2.49 of 2.50 spent (2.50 on each machine)" in shown
    assert shown.rstrip().endswith("article/article-1, on gw-1 (0.01), gw-2 (0.02)")


def test_a_machine_that_is_missing_is_named() -> None:
    """In words and in the document; the exit status says so too. Its words are only words."""
    missing = [SilentMachine("gw-3", "no answer in\x1b time")]
    found = ClusterTree([*ROWS], ["gw-1"], "gw-1", missing, left_out=7)

    def done(*, as_json: bool) -> Result:
        command = click.Command("tree", callback=lambda: show(found, as_json=as_json))
        return CliRunner().invoke(command)

    words = done(as_json=False)
    assert words.exit_code == 1
    assert r"machine gw-3 did not answer: no answer in\x1b time" in words.output
    assert "7 branches are left out" in words.output
    document = json.loads(done(as_json=True).output)
    assert (document["machines"], document["left_out"]) == (["gw-1"], 7)
    assert document["not_asked"] == [{"machine": "gw-3", "why": "no answer in\x1b time"}]
