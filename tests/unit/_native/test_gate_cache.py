"""The cache of verified tokens: bounded, proved byte for byte, and shared by threads."""

import threading

import pytest
from crew_world import CREW, KID, World
from gate_world import Gatehouse
from tokens import compact, sign

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate._native.records import TableCapacities
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

PING = 2


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse(World.make())


def test_a_token_is_verified_once(house: Gatehouse) -> None:
    """The second look at the same bytes is a hit."""
    for _ in range(5):
        house.gate.decide(house.world.token, PING)
    assert house.gate.counters() == {
        "hits": 4,
        "misses": 1,
        "cached_tokens": 1,
        "dropped_permits": 0,
    }


def test_what_is_refused_is_not_remembered(house: Gatehouse) -> None:
    """Strangers fill nothing: bad signatures, and good ones over a ceiling."""
    world = house.world
    house.gate.decide(world.token[:-6] + b"AAAAAA", PING)
    house.gate.decide(world.mint(exp=world.now + 901), PING)
    assert house.gate.counters()["cached_tokens"] == 0


def test_a_hit_is_proved_by_the_whole_token(house: Gatehouse) -> None:
    """The same signature under other claims is another token: the hash finds, it proves nothing."""
    world = house.world
    house.permit(world.token, PING).settle()
    head, claims, signature = world.token.split(b".")
    other = world.mint().split(b".")[1]
    forged = b".".join((head, other, signature))
    assert house.reason(forged, PING) is Reason.INVALID_TOKEN
    middle = len(claims) // 2
    flipped = claims[:middle] + (b"A" if claims[middle : middle + 1] != b"A" else b"B")
    forged = b".".join((head, flipped + claims[middle + 1 :], signature))
    assert len(forged) == len(world.token)
    assert house.reason(forged, PING) is Reason.INVALID_TOKEN
    assert house.reason(world.token, PING) is None


def test_padded_twins_of_a_cached_token_are_refused(house: Gatehouse) -> None:
    """`tok==` is not the token that was verified (a known way round caches)."""
    token = house.world.token
    house.permit(token, PING).settle()
    for twin in (token + b"=", token + b"==", token + b"\n", b" " + token, token + b"\0"):
        assert house.reason(twin, PING) is Reason.INVALID_TOKEN


def test_a_full_cache_forgets_and_goes_on(house: Gatehouse) -> None:
    """More tokens than fit are all judged; the bytes that are held stay under the bound."""
    world = house.world
    head = compact({"alg": "EdDSA", "typ": "at+jwt", "kid": KID})

    def mint() -> bytes:
        # A token of 3 KiB, so that fewer of them fill the cache; all have the same length.
        world.serial = max(world.serial, 1000)
        return sign(head, compact(world.claims(note="x" * 1900)), key=world.keys[CREW])

    first = mint()
    fits = limits.token_cache_bytes_max // (4096 + 2 * len(first))
    assert fits < limits.token_cache_entries_max
    for _ in range(fits + 100):
        assert house.gate.decide(mint(), PING).grant is not None
    # A little fewer, where more than four fell into one set.
    assert fits * 0.98 <= house.gate.counters()["cached_tokens"] <= fits
    assert house.reason(first, PING) is None


@pytest.mark.parametrize("quota", [500])
def test_threads_may_share_one_gate(quota: int) -> None:
    """Eight threads, a cold cache, 64 slots: exactly the quota is admitted, nothing is lost."""
    house = Gatehouse(World.make(), geometry=TableCapacities(64, 64, 256, 2))
    tokens = [house.world.mint(credit_quota=quota) for _ in range(8)]
    house.draw(house.world.grant, 1)
    lock = threading.Lock()
    admitted: list[int] = []
    errors: list[BaseException] = []

    def one(token: bytes) -> bool:
        verdict = house.gate.decide(token, 0)
        while isinstance(verdict, Denial) and verdict.retry and verdict.grant is not None:
            with lock:
                house.draw(verdict.grant, 10)
            verdict = house.gate.decide(token, 0)
        if isinstance(verdict, Permit):
            verdict.settle()
            return True
        assert verdict.reason is Reason.CREDITS_EXHAUSTED
        return False

    def spend(first: int) -> None:
        try:
            admitted.extend(one(tokens[(first + at) % 8]) for at in range(60))
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=spend, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(admitted) == quota // 10
    record = house.record()
    assert (record.settled, record.reserved, record.burned) == (quota, 0, 0)
