"""What a machine knows of its ledger, against a ledger as it stands."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate.core.budget.ledger_mark import HolderOperationCounts, LedgerMark, mark_of, why_not

KNOWN = LedgerMark("a" * 32, "one", 100)
NAMES = st.text(st.characters(categories=("Ll", "Nd")), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("known", "book", "said"),
    [
        (None, None, ""),
        (None, HolderOperationCounts("b" * 32, {}), ""),
        (KNOWN, HolderOperationCounts("a" * 32, {"one": 100, "two": 5}), ""),
        (KNOWN, HolderOperationCounts("a" * 32, {"one": 101}), ""),
        (KNOWN, None, "every budget would start again"),
        (KNOWN, HolderOperationCounts("b" * 32, {"one": 100}), r"another ledger \(bbbbbbbb\)"),
        (KNOWN, HolderOperationCounts("a" * 32, {"one": 99}), "lacks the last 1 of 100 operations"),
        (
            KNOWN,
            HolderOperationCounts("a" * 32, {"two": 999}),
            "lacks the last 100 of 100 operations",
        ),
        (LedgerMark("a" * 32, "one"), HolderOperationCounts("a" * 32, {}), ""),
    ],
)
def test_only_a_ledger_that_has_counted_as_much_will_do(
    known: LedgerMark | None, book: HolderOperationCounts | None, said: str
) -> None:
    """Missing, another or older is said, with what it costs; newer is as good."""
    found = why_not(known, book)
    assert bool(found) == bool(said)
    assert re.search(said, found)


def test_a_ledger_that_may_forget_is_still_no_other_one() -> None:
    """Only that it is older is no reproach."""
    assert why_not(KNOWN, HolderOperationCounts("a" * 32, {}), may_forget=True) == ""
    assert why_not(KNOWN, HolderOperationCounts("b" * 32, {"one": 100}), may_forget=True)
    assert why_not(KNOWN, None, may_forget=True)


@given(NAMES, NAMES, st.integers(0, 2**40))
def test_what_a_table_is_bound_to_names_ledger_machine_and_term(
    ledger: str, holder: str, term: int
) -> None:
    """And can be read again: a table of a version that kept no marks has only that."""
    mark = LedgerMark(ledger, holder, 7, term)
    assert mark_of(mark.drawn_as) == LedgerMark(ledger, holder, 0, term)


@pytest.mark.parametrize("text", ["", "one", "one ", " two", "one two three", "one two 3 4"])
def test_other_texts_are_no_mark(text: str) -> None:
    """A file that was torn names no ledger."""
    assert mark_of(text) is None
