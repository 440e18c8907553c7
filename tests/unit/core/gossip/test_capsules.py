"""A capsule has one form, fits in one datagram, and says what was signed."""

import pytest
from gossip_capsules import capsule, entry, line
from gossip_world import CLUSTER, WALL
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.capsules import RevocationEntry, decode, seal, unsigned
from crewgate.core.gossip.messages import Push, encode
from crewgate.errors import GossipError

TIMES = st.integers(0, limits.time_seconds_max)
KEYS = st.binary(min_size=16, max_size=16)
ENTRIES = st.builds(RevocationEntry, st.integers(1, 255), KEYS, KEYS, TIMES, TIMES)


@given(st.lists(ENTRIES, min_size=1, max_size=24), st.integers(1, 2**32 - 1), TIMES)
def test_what_is_written_is_read(entries: list[RevocationEntry], number: int, created: int) -> None:
    """Every field, at every value that it may have."""
    made = seal(unsigned(line(), number, created, entries), b"s" * 64)
    read = decode(made.raw)
    assert read == made
    assert read.entries == tuple(entries)
    assert (read.line, read.number, read.created) == (line(), number, created)
    assert read.expires == max(each.expires for each in entries)
    assert read.signature == b"s" * 64


def test_the_largest_fits_in_a_datagram() -> None:
    """With its seal, whatever is in it."""
    largest = unsigned(line(), 1, WALL, [entry(n) for n in range(limits.capsule_entries_max)])
    assert len(encode(Push(largest.raw))) <= limits.gossip_message_bytes_max


@pytest.mark.parametrize("change", [-1, 1, -43, 24 * 43])
def test_another_length_is_none(change: int) -> None:
    """Cut off, drawn out, empty or too full."""
    raw = capsule().raw
    with pytest.raises(GossipError, match="length"):
        decode(raw[:change] if change < 0 else raw + bytes(change))


@pytest.mark.parametrize(
    ("at", "bad"),
    [
        (slice(16, 20), bytes(4)),  # no number
        (slice(20, 25), b"\xff" * 5),  # created
        (slice(41, 42), b"\0"),  # kind
        (slice(74, 79), b"\xff" * 5),  # before
        (slice(79, 84), b"\xff" * 5),  # expires
    ],
)
def test_what_cannot_be_is_none(at: slice, bad: bytes) -> None:
    """Numbers from 1, kinds from 1, times that the table can hold."""
    raw = bytearray(capsule().raw)
    raw[at] = bad
    with pytest.raises(GossipError):
        decode(bytes(raw))


def test_only_what_can_be_read_is_made() -> None:
    """A time beyond all clocks, and nothing at all."""
    with pytest.raises(ValueError, match="time"):
        unsigned(line(), 1, limits.time_seconds_max + 1, [entry()])
    with pytest.raises(ValueError, match="length"):
        unsigned(line(), 1, WALL, [])
    with pytest.raises(ValueError, match="length"):
        unsigned(line(), 1, WALL, [entry(n) for n in range(25)])


def test_all_of_it_is_signed_and_of_one_cluster() -> None:
    """No bit of it, and no other cluster, goes with the same signature."""
    made = capsule()
    signed = made.signed(CLUSTER)
    assert made.raw[:-64] in signed
    assert made.signed(bytes(16)) != signed
    assert signed.startswith(b"crewgate capsule 1\0")
