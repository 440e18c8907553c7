"""Reads what rules on branches have counted lately, for people who watch."""

from crewgate._native.records import CountedActivity
from crewgate._native.table import Table

def read_activities(table: Table, now_boot_ns: int) -> dict[int, CountedActivity]:
    """Return the activity of each live branch, by its record number; it changes nothing.

    A branch whose calls no rule has counted is left out.
    """
