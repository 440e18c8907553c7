"""Opens the windows in which a machine remembers DPoP proofs; only the owner of a table does it."""

from crewgate._native.table_owner import OwnedTable

def open_windows(table: OwnedTable, now_wall: int, now_boot: int) -> None:
    """Open the windows in which proofs of now are remembered; call it every second.

    Both are in seconds: since the epoch, and of CLOCK_BOOTTIME. At the first call, the table takes
    no proof without a nonce that an earlier table may have known.
    """

def distrust_before(table: OwnedTable, wall: int) -> None:
    """Have the table take proofs without a nonce only if they are newer than a time.

    `wall` is in seconds since the epoch: an earlier table may know proofs of until then.
    """

def are_full(table: OwnedTable) -> bool:
    """Return whether the table takes no further proof of some crew for a while."""
