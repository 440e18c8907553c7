"""Each message has one form: what is read is what was written, and all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.core.gossip.messages import (
    AcceptLogRequest,
    AcceptLogResponse,
    Ack,
    IHave,
    IWant,
    MemberAddress,
    MemberState,
    MemberUpdate,
    Message,
    PersistAck,
    PersistQuery,
    Ping,
    PingRequest,
    Push,
    decode,
    encode,
)
from crewgate.errors import GossipError

IDS = st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=limits.gossip_ids_max)
EIGHT = st.binary(min_size=8, max_size=8)
NUMBERS = st.integers(0, 2**64 - 1)
ADDRESSES = st.builds(MemberAddress, st.binary(min_size=16, max_size=16), st.integers(0, 65_535))
UPDATES = st.lists(
    st.builds(MemberUpdate, EIGHT, st.sampled_from(MemberState), NUMBERS, ADDRESSES),
    max_size=limits.gossip_updates_max,
).map(tuple)
TIMES = st.integers(0, 2**40 - 1)


@st.composite
def answers(draw: st.DrawFn) -> AcceptLogResponse:
    """With some of what there is, if there is any."""
    told = st.lists(st.binary(min_size=20, max_size=20), max_size=limits.answer_ids_max)
    ids = tuple(draw(told))
    number = draw(st.integers(0, 2**64 - 1 - len(ids)))
    head = draw(st.integers(number + len(ids), 2**64 - 1)) if ids else number
    life, nonce, members = draw(EIGHT), draw(EIGHT), draw(EIGHT)
    return AcceptLogResponse(
        nonce, life, number, head, members, draw(TIMES), draw(st.booleans()), ids
    )


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Push, st.binary(max_size=limits.gossip_message_bytes_max - 1)),
    st.builds(IHave, IDS.map(tuple)),
    st.builds(IWant, IDS.map(tuple)),
    st.builds(Ping, NUMBERS, EIGHT, UPDATES),
    st.builds(Ack, NUMBERS, EIGHT, UPDATES),
    st.builds(PingRequest, NUMBERS, EIGHT, UPDATES),
    st.builds(AcceptLogRequest, EIGHT, EIGHT, NUMBERS),
    answers(),
    st.builds(PersistQuery, TIMES, IDS.map(tuple)),
    st.builds(PersistAck, TIMES, EIGHT, st.booleans(), IDS.map(tuple)),
)
SOME: list[Message] = [
    Push(b"raw"),
    IHave((bytes(20), bytes(range(20)))),
    IWant((bytes(20),)),
    Ping(1, bytes(8), (MemberUpdate(bytes(8), MemberState.DEAD, 7, MemberAddress(bytes(16), 9)),)),
    Ack(2, bytes(8)),
    PingRequest(3, bytes(8)),
    AcceptLogRequest(b"nonce 8.", b"life 8..", 9),
    AcceptLogResponse(
        b"nonce 8.", b"life 8..", 9, 11, bytes(8), 12, counts=True, ids=(bytes(range(20)),)
    ),
    AcceptLogResponse(bytes(8), bytes(8), 7, 7, bytes(8), 2**40 - 1, counts=False),
    PersistQuery(4, (bytes(20), bytes(range(20)))),
    PersistAck(2**40 - 1, b"members.", counts=True, ids=(bytes(range(20)),)),
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
    ("number", "head", "count"), [(5, 6, 2), (5, 4, 0), (5, 6, 0), (2**64 - 1, 2**64 - 1, 1)]
)
def test_an_answer_tells_some_of_what_there_is(number: int, head: int, count: int) -> None:
    """Not more of it, and not nothing: whoever believed that would ask for ever."""
    bad = AcceptLogResponse(
        *(bytes(8), bytes(8), number, head, bytes(8), 1), counts=True, ids=(bytes(20),) * count
    )
    with pytest.raises(GossipError, match=r"^an AcceptLogResponse from \d+ to \d+ has \d ids$"):
        decode(encode(bad))


@pytest.mark.parametrize(
    "message",
    [
        Push(bytes(limits.gossip_message_bytes_max)),
        IHave((bytes(20),) * (limits.gossip_ids_max + 1)),
        PersistQuery(1, (bytes(20),) * (limits.gossip_ids_max + 1)),
        PersistAck(1, bytes(8), counts=True, ids=(bytes(20),) * (limits.gossip_ids_max + 1)),
        AcceptLogResponse(*(bytes(8), bytes(8), 0, 99, bytes(8), 1), True, (bytes(20),) * 56),
        Ping(1, bytes(8), SOME[3].updates * (limits.gossip_updates_max + 1)),  # type: ignore[union-attr]
    ],
    ids=["carry", "have", "check", "kept", "answer", "ping"],
)
def test_what_fits_in_no_datagram_is_not_written(message: Message) -> None:
    """Cut into several messages by whoever says it, or not said."""
    with pytest.raises(ValueError, match="does not fit into a datagram"):
        encode(message)
