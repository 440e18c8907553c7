"""A disk that was put back from a copy: its machine catches up before it counts."""

from pathlib import Path

import msgspec
import pytest

from crewgate.core.gossip.quorum_freshness import QuorumFreshness
from crewgate.gossip.quorum_view_file import QuorumView, QuorumViewFile, demote

OTHER = b"other".ljust(8)


@pytest.mark.parametrize(("members", "counts"), [([OTHER], False), ([], True)])
def test_a_machine_with_others_counts_no_more(
    tmp_path: Path, members: list[bytes], counts: bool
) -> None:
    """One that is alone still counts, as it cannot catch up; members and who counted stay known."""
    path = tmp_path / "standing"
    path.write_bytes(msgspec.msgpack.encode(QuorumView(members, members, counts=True)))
    demote(path)
    freshness = QuorumFreshness(b"me".ljust(8))
    QuorumViewFile(path).restore(freshness)
    assert (freshness.counts, list(freshness.others)) == (counts, members)


@pytest.mark.parametrize("data", [None, b"torn"])
def test_a_disk_that_says_nothing_is_left_as_it_is(tmp_path: Path, data: bytes | None) -> None:
    """Its machine begins anew anyway."""
    path = tmp_path / "standing"
    if data is not None:
        path.write_bytes(data)
    demote(path)
    assert (path.read_bytes() if path.exists() else None) == data
