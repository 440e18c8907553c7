"""The screen: what stands where at 80 columns and on a wide one, and that any size is safe."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_trees import CREW, FAMILY, LOOP, RUN, answer, changed, node, reading
from rich.cells import cell_len

from crewgate.cli.top.frame import (
    HELP,
    Bottom,
    credits_text,
    details,
    frame,
    plain_lines,
    state_text,
    wrapped,
)
from crewgate.cli.top.reading import Readings
from crewgate.cli.top.terminal import Size
from crewgate.cli.top.view import View
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import CallTotalRow
from crewgate.ipc.cluster_view import SilentMachine

NOTHING = Bottom()


def view_of(rows: tuple[TreeRow, ...] = FAMILY) -> View:
    view = View()
    view.take(reading(rows))
    return view


def texts(view: View, size: Size, bottom: Bottom = NOTHING, trouble: str = "") -> list[str]:
    lines = frame(view, size, bottom, now="12:00:00Z", trouble=trouble)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_eighty_columns() -> None:
    """All that matters, and the keys on the last line."""
    readings, view = Readings(), View()
    readings.take(answer(), 0)
    loops = {"rule": "same-call", "rule_step": RuleStep.END, "rule_mode": RuleMode.OBSERVE}
    later = changed(
        crew={"spent": 30_010_000}, run={"spent": 30_010_000, "calls": 1},
        editor={"spent": 25_010_000, "calls": 1},
        researcher={"spent": 20_010_000, "calls": 1, **loops}, checker={"state": "exhausted"},
    )  # fmt: skip
    view.take(readings.take(answer(later), 1))
    found = texts(view, Size(80, 24))
    assert found[:8] == [
        "crewgate top  1 machine, 4 live of 4 branches  12:00:00Z",
        "0.6000 credits/min  0 calls/min  branches by credits/min",
        "CREW AND BRANCH              STATE         CREDITS/M CALLS/M     SPENT      LEFT",
        "article                                       0.6000      60   30.0100",
        "└─run 11111111               live             0.6000      60   30.0100   70.0000",
        "  └─editor 22222222          live             0.6000      60   25.0100   25.0000",
        "    ├─researcher 33333333    live ?end        0.6000      60   20.0100   30.0000",
        "    └─checker 44444444       exhausted        0.0000       0    5.0000   30.0000",
    ]
    assert found[-1] == (
        "q quit  Tab table  s sort  / filter  Enter info  e end  u quarantine  ? help"
    )
    assert len(found) == 24


def test_a_wide_screen_shows_more() -> None:
    """The rule, the orchestrator, whole ids on the widest; machines if there are several."""
    heading = texts(view_of(), Size(160, 50))[2]
    assert "RULE" in heading
    assert "ORCHESTRATOR" in heading
    assert "MACHINES" not in heading
    assert LOOP in "\n".join(texts(view_of(), Size(220, 50)))
    view, away = View(), [SilentMachine("gw-2", "timed out")]
    view.take(Readings().take(answer(not_asked=away), 0))
    found = texts(view, Size(160, 50))
    assert found[2] == "machine gw-2 did not answer: timed out"
    assert "MACHINES" in found[3]


def test_a_narrow_screen_keeps_names_and_states() -> None:
    """Columns go from the right."""
    heading = texts(view_of(), Size(50, 10))[2]
    assert heading.split() == ["CREW", "AND", "BRANCH", "STATE"]


def test_trouble_is_said_above_the_old_rows() -> None:
    """They are dim, and none is marked as selected."""
    lines = frame(view_of(), Size(80, 24), Bottom(), now="", trouble="no answer for 7 s: it ended")
    assert lines[2] == [("no answer for 7 s: it ended", "warning")]
    assert {style for line in lines[4:9] for _, style in line} == {"dim"}


def test_before_the_first_reading() -> None:
    """It says what it waits for."""
    assert texts(View(), Size(80, 24))[0] == "crewgate top  asking the agent"


@pytest.mark.parametrize(
    ("rows", "said"),
    [((), "no branch has made a call yet"),
     (changed(FAMILY[:2], run={"state": "expired"}), "no branch is live; a shows those")],
)  # fmt: skip
def test_an_empty_table_says_why(rows: tuple[TreeRow, ...], said: str) -> None:
    """And what to press."""
    assert said in "\n".join(texts(view_of(rows), Size(80, 24)))


def test_nothing_of_the_filter_is_lost() -> None:
    """It is shown while it is in force; an empty table says how to end it."""
    view = view_of()
    view.filter_by("nobody")
    found = texts(view, Size(80, 24))
    assert "filter: nobody" in found[0]
    assert "Escape shows all" in found[3]


def test_a_question_stands_whole_above_its_answer() -> None:
    """With what each key does."""
    question = f"End branch {LOOP} (researcher) of crew article with 0 live branches below it? Type"
    found = texts(view_of(), Size(80, 24), Bottom(question=question, typed="ye"))
    assert " ".join(found[-4:-2]) == question
    assert found[-2:] == ["> ye_", "yes Enter do it  Escape do nothing"]


def test_help_fits_a_small_screen() -> None:
    """With the head above it."""
    found = texts(view_of(), Size(80, 24), Bottom("Keys", HELP))
    assert found[0].startswith("crewgate top")
    assert [line for line in HELP if line and line not in found] == []


def test_states_say_what_rules_did() -> None:
    """In words, so that colors add nothing."""

    def state(step: RuleStep, mode: RuleMode, before: str = "live") -> str:
        fields = {"rule": "r", "rule_step": step, "rule_mode": mode, "state": before}
        rows = changed(researcher=fields)
        return state_text(reading(rows).rows[node(LOOP)])

    assert state(RuleStep.WARN, RuleMode.OBSERVE) == "live !warn"
    assert state(RuleStep.REFUSE, RuleMode.OBSERVE) == "live ?refuse"
    assert state(RuleStep.REFUSE, RuleMode.ENFORCE) == "live !refuse"
    assert state(RuleStep.END, RuleMode.ENFORCE) == "live ?end", "a branch below was ended"
    assert state(RuleStep.END, RuleMode.ENFORCE, "revoked") == "revoked !end"
    assert state(RuleStep.END, RuleMode.OBSERVE, "revoked") == "revoked ?end", "by a person"


def test_two_hundred_columns_have_whole_ids() -> None:
    """So a person can copy them; 80 columns have as much as `crewgate revoke` needs."""
    assert LOOP in "\n".join(texts(view_of(), Size(200, 24)))
    assert LOOP not in "\n".join(texts(view_of(), Size(80, 24)))


def test_a_narrow_screen_keeps_the_state() -> None:
    """Columns are left out from the right, and none of a wide screen takes their place."""
    assert texts(view_of(), Size(40, 24))[2] == "CREW AND BRANCH            STATE"
    heading = texts(view_of(), Size(60, 24))[2]
    assert heading.split()[3:] == ["STATE", "CREDITS/M", "CALLS/M"]


def test_a_low_screen_keeps_the_answer_to_a_question() -> None:
    """A person sees what they type; the head makes room."""
    asked = Bottom(question="End branch b of crew article? Type yes and Enter.", typed="ye")
    found = texts(view_of(), Size(20, 4), asked)
    assert found[-2] == "> ye_"
    assert found[-1].startswith("yes Enter do it")


def test_a_folded_crew_is_no_empty_answer() -> None:
    """What the filter has found stands below the folded row."""
    view = view_of()
    view.filter_by("researcher")
    view.move_to(0)
    view.fold(unfold=False)
    found = texts(view, Size(80, 24))
    assert found[3].startswith("article +3")
    assert "nothing has this text" not in "\n".join(found)


def test_details_have_the_whole_id_and_no_empty_facts() -> None:
    """A fact a line."""
    found = details(reading().rows[node(LOOP)])
    assert f"branch       {LOOP}" in found
    assert "credits      20.0000 spent of 50.0000, 30.0000 left" in found
    assert not any(line.startswith(("for", "rule", "below")) for line in found)


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0.0000"), (1, "0.0000"), (50, "0.0001"), (9_999_999_900, "9999.9999"),
     (9_999_999_999, "10000.00"), (999_999_990_000, "999999.99"), (10**15, "1000000000")],
)  # fmt: skip
def test_amounts_fit_their_columns(micro: int, text: str) -> None:
    """With as many decimals as there is room for."""
    assert credits_text(micro) == text


NASTY = "\x1b[2J\x1b]0;owned\x07\u202eevil\u200b \U0001f600 語語 \\x1b"


def test_hostile_names_are_only_text() -> None:
    """Escape sequences, text that runs backwards, letters of two cells."""
    rows = tuple(
        msgspec.structs.replace(
            row, crew=NASTY, role=NASTY, orchestrator=NASTY, subject=NASTY, process=NASTY,
            rule=NASTY, rule_step=RuleStep.WARN, rule_mode=RuleMode.OBSERVE,
        )
        for row in FAMILY
    )  # fmt: skip
    view, away = View(), [SilentMachine(NASTY, NASTY)]
    totals = [CallTotalRow(NASTY, NASTY, 1)]
    readings = Readings()
    view.take(readings.take(answer(rows, machine=NASTY, not_asked=away, totals=totals), 0))
    view.filter_by(NASTY[:3])
    view.filter_by("")
    for _ in range(3):
        for columns in (30, 80, 200):
            for line in texts(view, Size(columns, 30)):
                assert all(each.isprintable() for each in line), line
        view.turn_table()
    shown = Readings().take(answer(rows), 0).rows
    assert all(line.isprintable() for live in shown.values() for line in details(live))


@given(
    st.integers(1, 250), st.integers(1, 60), st.integers(0, 4), st.booleans(), st.booleans(),
    st.sampled_from(["", "q" * 300, "a few words " * 20]),
)  # fmt: skip
def test_every_size_is_filled_and_no_more(
    columns: int, lines: int, selected: int, has_panel: bool, is_question: bool, text: str
) -> None:
    """Whatever a terminal says that its size is."""
    view = view_of()
    view.move_to(selected)
    bottom = Bottom(
        "Receipt" if has_panel else "", [text] * has_panel, text if is_question else "",
        "yes" if is_question else None, "a note",
    )  # fmt: skip
    found = frame(view, Size(columns, lines), bottom, now="12:00:00Z", trouble=text)
    assert len(found) <= lines
    if not is_question and lines > 30 and columns > 40 and not has_panel:
        assert len(found) == lines


@given(st.text(max_size=200), st.integers(1, 100))
def test_wrapped_lines_fit_and_lose_nothing(text: str, columns: int) -> None:
    """But for spaces; a letter of two cells does not fit one column."""
    found = wrapped(text, columns)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(cell_len(line) <= max(columns, 2) for line in found)


def test_plain_lines_have_every_row_and_no_style() -> None:
    """For a file or a pipe."""
    found = plain_lines(view_of(), 240)
    assert len(found) == 2 + 1 + len(FAMILY)
    assert found[4].startswith(f"└─run {RUN}")
    assert found[3].startswith(CREW)


def test_plain_lines_say_that_there_is_nothing() -> None:
    """Without the keys that only a screen has."""
    view = view_of()
    view.filter_by("zzz")
    assert plain_lines(view, 240)[-1] == "nothing has this text"
