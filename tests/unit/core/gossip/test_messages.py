"""Each message has one form: what is read is what was written, and all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.messages import (
    Ack,
    Address,
    Ask,
    Carry,
    Have,
    Message,
    Ping,
    State,
    Update,
    Want,
    decode,
    encode,
)
from crewgate.errors import GossipError

IDS = st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=limits.gossip_ids_max)
EIGHT = st.binary(min_size=8, max_size=8)
NUMBERS = st.integers(0, 2**64 - 1)
ADDRESSES = st.builds(Address, st.binary(min_size=16, max_size=16), st.integers(0, 65_535))
UPDATES = st.lists(
    st.builds(Update, EIGHT, st.sampled_from(State), NUMBERS, ADDRESSES),
    max_size=limits.gossip_updates_max,
).map(tuple)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Carry, st.binary(max_size=limits.gossip_message_bytes_max - 1)),
    st.builds(Have, IDS.map(tuple)),
    st.builds(Want, IDS.map(tuple)),
    st.builds(Ping, NUMBERS, EIGHT, UPDATES),
    st.builds(Ack, NUMBERS, EIGHT, UPDATES),
    st.builds(Ask, NUMBERS, EIGHT, UPDATES),
)
SOME: list[Message] = [
    Carry(b"raw"),
    Have((bytes(20), bytes(range(20)))),
    Want((bytes(20),)),
    Ping(1, bytes(8), (Update(bytes(8), State.DEAD, 7, Address(bytes(16), 9)),)),
    Ack(2, bytes(8)),
    Ask(3, bytes(8)),
]


@given(MESSAGES)
def test_what_is_written_is_read(message: Message) -> None:
    """Every kind, at every size that it may have, within one datagram."""
    data = encode(message)
    assert len(data) <= limits.gossip_message_bytes_max
    assert decode(data) == message


@given(st.binary(max_size=limits.gossip_message_bytes_max + 50))
def test_whatever_comes_is_a_message_or_refused(data: bytes) -> None:
    """And if it is one, it is written in no other way."""
    try:
        message = decode(data)
    except GossipError:
        return
    assert encode(message) == data


@pytest.mark.parametrize("message", SOME, ids=lambda each: type(each).__name__)
def test_every_cut_and_every_bit_is_refused_or_another_message(message: Message) -> None:
    """At every byte; never an error of ours."""
    data = encode(message)
    changed = [data[:end] for end in range(len(data))] + [data + b"\0"]
    for at in range(len(data)):
        changed += [data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :] for bit in range(8)]
    for each in changed:
        try:
            assert decode(each) != message
        except GossipError:
            continue


@pytest.mark.parametrize(
    "message",
    [
        Carry(bytes(limits.gossip_message_bytes_max)),
        Have((bytes(20),) * (limits.gossip_ids_max + 1)),
        Ping(1, bytes(8), SOME[3].updates * (limits.gossip_updates_max + 1)),  # type: ignore[union-attr]
    ],
    ids=["carry", "have", "ping"],
)
def test_what_fits_in_no_datagram_is_not_written(message: Message) -> None:
    """Cut into several messages by whoever says it, or not said."""
    with pytest.raises(ValueError, match="fits in no datagram"):
        encode(message)
