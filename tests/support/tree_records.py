"""Copies of the table's records, for tests of the branch tree."""

from crewgate._native.records import BranchRecord


def record(
    number: int, own: bytes, parents: tuple[int, ...], quota: int, **more: object
) -> BranchRecord:
    """A record that has done nothing, but for `more`."""
    blank = BranchRecord(
        number=number,
        generation=1,
        key=own,
        parents=parents,
        path_digest=bytes(16),
        quota=quota,
        quota_iat=0,
        expires=0,
        available=0,
        reserved=0,
        loose=0,
        settled=0,
        granted=0,
        given_back=0,
        burned=0,
        retired=0,
        sequence=0,
        pending=0,
        closed=False,
        refused=None,
    )
    return blank._replace(**more)  # type: ignore[arg-type]
