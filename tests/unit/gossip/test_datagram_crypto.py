"""Whatever is not whole, fresh, of this group and for this member changes nothing."""

import os

import pytest
from gossip_world import member_id
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.errors import GossipError
from crewgate.gossip.datagram_crypto import KEY_BYTES, Decryptor, Encryptor, KeySet

ME, YOU, THIRD = member_id(0), member_id(1), member_id(2)
KEY = bytes(range(KEY_BYTES))
BOOT = b"one boot"


def keys(number: int = 1, key: bytes = KEY) -> KeySet:
    """One key."""
    made = KeySet()
    made.use({number: key}, number)
    return made


def sealer(boot: bytes = BOOT, of: KeySet | None = None) -> Encryptor:
    """What I send."""
    return Encryptor(ME, boot, of or keys())


def opener(who: bytes = YOU, of: KeySet | None = None) -> Decryptor:
    """What somebody receives."""
    return Decryptor(who, of or keys())


@given(st.binary(max_size=limits.gossip_message_bytes_max))
def test_what_is_sealed_is_opened(message: bytes) -> None:
    """By whom it was sealed for, in one datagram."""
    datagram = sealer().seal(YOU, message)
    assert len(datagram) == len(message) + limits.gossip_seal_bytes
    assert len(datagram) <= limits.gossip_datagram_bytes_max
    assert opener().open(datagram, 0.0) == (ME, message)


def test_every_bit_counts() -> None:
    """Turned anywhere, cut anywhere, or drawn out: it is none; and the good one still is."""
    datagram, receiver = sealer().seal(YOU, b"message"), opener()
    changed = [datagram[:end] for end in range(len(datagram))] + [datagram + b"x"]
    for at in range(len(datagram)):
        for bit in range(8):
            turned = bytes((datagram[at] ^ 1 << bit,))
            changed.append(datagram[:at] + turned + datagram[at + 1 :])
    for each in changed:
        with pytest.raises(GossipError):
            receiver.open(each, 0.0)
    assert not receiver._windows
    assert receiver.open(datagram, 0.0).message == b"message"


@given(st.binary(max_size=limits.gossip_datagram_bytes_max + 10))
def test_whatever_comes_is_refused(datagram: bytes) -> None:
    """By whoever has no key."""
    with pytest.raises(GossipError):
        opener().open(datagram, 0.0)


def test_another_receiver_key_or_group_opens_nothing() -> None:
    """Nor does its own sender."""
    datagram = sealer().seal(YOU, b"message")
    for other in (
        opener(THIRD),
        opener(ME),
        opener(of=keys(2)),
        opener(of=keys(1, os.urandom(KEY_BYTES))),
    ):
        with pytest.raises(GossipError):
            other.open(datagram, 0.0)


def test_it_counts_once() -> None:
    """In any order; and what is too late to tell does not count."""
    mine, receiver = sealer(), opener()
    sent = [mine.seal(YOU, bytes((n % 256,))) for n in range(limits.replay_window + 10)]
    order = [5, 3, 4, 700, 600, 701, 0]
    assert [receiver.open(sent[n], 0.0).message[0] for n in order] == [n % 256 for n in order]
    for n in order:
        with pytest.raises(GossipError, match="arrived before"):
            receiver.open(sent[n], 0.0)
    receiver.open(sent[-1], 0.0)
    receiver.open(sent[11], 0.0)
    with pytest.raises(GossipError, match="arrived before"):
        receiver.open(sent[9], 0.0)


@given(st.lists(st.integers(1, 3 * limits.replay_window), max_size=60))
def test_the_window_is_a_set_with_an_end(counters: list[int]) -> None:
    """Against a set of all that has come, and what is too far behind the highest."""
    mine, receiver, come = sealer(), opener(), set[int]()
    for counter in counters:
        mine._counter = counter - 1
        late = max(come, default=0) - counter >= limits.replay_window
        try:
            receiver.open(mine.seal(YOU, b""), 0.0)
        except GossipError:
            assert counter in come or late
        else:
            assert counter not in come
            assert not late
            come.add(counter)


def test_another_life_counts_for_itself() -> None:
    """In bounded number: of many, the one that was silent for longest is forgotten."""
    receiver = opener()
    first = sealer(b"life   0").seal(YOU, b"")
    for life in range(limits.replay_boots_max + 1):
        receiver.open(sealer(f"life {life:3}".encode()).seal(YOU, b""), float(life))
    assert len(receiver._windows[ME]) == limits.replay_boots_max
    receiver.open(first, 99.0)
    receiver.forget(ME)
    assert not receiver._windows


def test_keys_go_and_come() -> None:
    """An old one opens for as long as it is there, and a member that is out has no new one."""
    mine, theirs, removed = keys(), keys(), keys()
    sending, receiver, outside = (
        Encryptor(ME, BOOT, mine),
        Decryptor(YOU, theirs),
        Decryptor(THIRD, removed),
    )
    old = sending.seal(YOU, b"old")
    for each in (mine, theirs):
        each.use({1: KEY, 2: bytes(KEY_BYTES)}, 2)
    new = sending.seal(YOU, b"new")
    assert (mine.number, sorted(mine._keys)) == (2, [1, 2])
    assert receiver.open(old, 0.0).message == b"old"
    assert receiver.open(new, 0.0).message == b"new"
    with pytest.raises(GossipError, match="key"):
        outside.open(sending.seal(THIRD, b"new"), 0.0)
    theirs.use({2: bytes(KEY_BYTES)}, 2)
    with pytest.raises(GossipError, match="key"):
        receiver.open(Encryptor(ME, b"another ", keys()).seal(YOU, b"old"), 0.0)


@pytest.mark.parametrize(
    ("given_", "number"),
    [({}, 1), ({1: KEY}, 2), ({1: b"short"}, 1), ({0: KEY}, 0), ({2**24: KEY}, 2**24),
     (dict.fromkeys(range(1, limits.group_keys_max + 2), KEY), 1)],
)  # fmt: skip
def test_what_are_no_keys(given_: dict[int, bytes], number: int) -> None:
    """None to seal with, of another length or number, or too many: those before stay."""
    made = keys()
    with pytest.raises(ValueError, match="key"):
        made.use(given_, number)
    assert made.number == 1


def test_nothing_is_sealed_without_a_key() -> None:
    """A machine that has not joined sends nothing."""
    with pytest.raises(GossipError, match="there is no group key"):
        Encryptor(ME, BOOT, KeySet()).seal(YOU, b"")


def test_no_nonce_comes_twice() -> None:
    """Over keys and lives: boot and counter go on."""
    mine, second = keys(), sealer(b"two boot")
    sending = Encryptor(ME, BOOT, mine)
    nonces = [sending.seal(YOU, b"")[4:28] for _ in range(50)]
    mine.use({2: KEY}, 2)
    nonces += [sending.seal(YOU, b"")[4:28] for _ in range(50)]
    nonces += [second.seal(YOU, b"")[4:28] for _ in range(50)]
    assert len(set(nonces)) == 150
