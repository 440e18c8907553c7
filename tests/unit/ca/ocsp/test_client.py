"""The checker on a virtual clock: what is asked once, remembered, forgotten, or given up."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import trio
import trio.testing
from cryptography.x509 import ocsp
from ocsp_world import NOW, World, der, refusal

from crewgate import limits
from crewgate.ca.certificates import CertificateAndKey
from crewgate.ca.ocsp.client import OCSPClient
from crewgate.core.x509.ocsp_result import (
    CertificateStatus,
    GoodStatus,
    RevokedStatus,
    UndeterminedReason,
    UndeterminedStatus,
    UnknownStatus,
)
from crewgate.errors import OCSPQueryError

WORLD = World()
KEY = b"k" * 16
LEAF = der(WORLD.leaf.certificate)
Respond = Callable[[bytes], bytes]


class Scripted:
    """A responder that counts, waits and fails as it is told; and a wall clock on Trio's."""

    def __init__(self, *, delay: float = 0.0) -> None:
        self.asked = 0
        self.delay = delay
        self.failure: OCSPQueryError | None = None
        self.make: Respond = lambda nonce: WORLD.respond(nonce=nonce, begin=self.age)
        self.end = timedelta(seconds=60)
        self.shift = 0.0
        self._start = trio.current_time()
        self.checker = OCSPClient(WORLD.issuer, self.fetch, wall=self.wall)

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=trio.current_time() - self._start)

    def wall(self) -> float:
        return NOW.timestamp() + trio.current_time() - self._start + self.shift

    async def fetch(self, request: bytes) -> bytes:
        self.asked += 1
        await trio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        nonce = ocsp.load_der_ocsp_request(request).extensions[0].value.nonce
        return self.make(nonce)

    async def check(
        self, key: bytes = KEY, leaf: CertificateAndKey = WORLD.leaf
    ) -> CertificateStatus:
        return await self.checker.check(key, der(leaf.certificate))


def answering(scripted: Scripted, **options: object) -> None:
    scripted.make = lambda nonce: WORLD.respond(nonce=nonce, **options)  # type: ignore[arg-type]


async def test_a_good_answer_is_asked_for_once_and_again_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Remembered until nextUpdate and not a moment longer."""
    one = Scripted()
    answering(one, end=timedelta(seconds=30))
    for late, asked in ((0, 1), (29.9, 1), (0.2, 2)):
        await trio.sleep(late)
        assert isinstance(await one.check(), GoodStatus)
        assert one.asked == asked


async def test_a_long_answer_is_remembered_no_longer_than_our_own_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A responder that vouches for a week is asked again in a minute."""
    one = Scripted()
    answering(one, end=timedelta(days=7))
    assert isinstance(await one.check(), GoodStatus)
    await trio.sleep(limits.ocsp_cached_seconds_max - 0.1)
    await one.check()
    assert one.asked == 1
    await trio.sleep(0.2)
    await one.check()
    assert one.asked == 2


@pytest.mark.parametrize("shift", [61.0, -3600.0])
async def test_a_wall_clock_that_jumps_makes_no_answer_last_longer(
    autojump_clock: trio.testing.MockClock, shift: float
) -> None:
    """Forward, it ends at once; backward, it still ends a minute later."""
    one = Scripted()
    await one.check()
    one.shift = shift
    if shift < 0:
        await trio.sleep(60.1)
    await one.check()
    assert one.asked == 2


async def test_an_answer_within_the_leeway_after_its_end_is_believed_and_not_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The cache knows no leeway."""
    one = Scripted()
    answering(one, begin=timedelta(seconds=-60), end=timedelta(seconds=-1))
    assert isinstance(await one.check(), GoodStatus)
    assert isinstance(await one.check(), GoodStatus)
    assert one.asked == 2


async def test_revoked_is_remembered_too(autojump_clock: trio.testing.MockClock) -> None:
    """A refused client that comes again and again costs one question a minute."""
    one = Scripted()
    answering(one, status=ocsp.OCSPCertStatus.REVOKED)
    for _ in range(3):
        assert isinstance(await one.check(), RevokedStatus)
    assert one.asked == 1


async def test_unknown_is_remembered_for_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    """A responder may lag behind its CA."""
    one = Scripted()
    answering(one, status=ocsp.OCSPCertStatus.UNKNOWN)
    assert await one.check() == await one.check() == UnknownStatus()
    assert one.asked == 1
    await trio.sleep(limits.ocsp_doubt_seconds)
    await one.check()
    assert one.asked == 2


async def test_a_failure_is_remembered_for_a_moment_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A herd asks a broken responder once, and the next one soon."""
    one = Scripted()
    one.failure = OCSPQueryError("it is away")
    assert (
        await one.check()
        == await one.check()
        == UndeterminedStatus(UndeterminedReason.UNREACHABLE, "it is away")
    )
    assert one.asked == 1
    one.failure = None
    await trio.sleep(limits.ocsp_doubt_seconds)
    assert isinstance(await one.check(), GoodStatus)


async def test_try_later_is_a_doubt(autojump_clock: trio.testing.MockClock) -> None:
    """And asked again soon."""
    one = Scripted()
    one.make = lambda _: refusal(ocsp.OCSPResponseStatus.TRY_LATER)
    assert await one.check() == UndeterminedStatus(UndeterminedReason.TRY_LATER)


async def test_a_nonce_is_sent_and_must_come_back(autojump_clock: trio.testing.MockClock) -> None:
    """A replayed answer is a doubt; without one, it depends on the way."""
    one = Scripted()
    one.make = lambda _: WORLD.respond(nonce=bytes(32))
    status = await one.check()
    assert isinstance(status, UndeterminedStatus)
    assert status.flaw is UndeterminedReason.NONCE
    one.make = lambda _: WORLD.respond()
    for is_authentic in (True, False):
        checker = OCSPClient(WORLD.issuer, one.fetch, is_authentic=is_authentic, wall=one.wall)
        assert isinstance(await checker.check(KEY, LEAF), GoodStatus) == is_authentic


async def test_each_question_has_a_nonce_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """Of 32 bytes that nobody can foresee."""
    one, nonces = Scripted(), set()

    def make(nonce: bytes) -> bytes:
        nonces.add(nonce)
        return WORLD.respond(nonce=nonce)

    one.make = make
    for _ in range(3):
        await one.check()
        one.checker.forget([KEY])
    assert {len(nonce) for nonce in nonces} == {limits.ocsp_nonce_bytes}
    assert len(nonces) == 3


async def test_nobody_waits_longer_than_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever asks and whoever waits with him hear that it is too late, from one question."""
    one = Scripted(delay=1000)
    statuses: list[CertificateStatus] = []

    async def wait() -> None:
        statuses.append(await one.check())

    with trio.fail_after(limits.ocsp_seconds_max + 0.1):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(wait)
    assert [status.flaw for status in statuses if isinstance(status, UndeterminedStatus)] == [
        UndeterminedReason.TIMEOUT
    ] * 5
    assert one.asked == 1


async def test_those_who_come_together_ask_once(autojump_clock: trio.testing.MockClock) -> None:
    """Fifty handshakes of one certificate are one question."""
    one = Scripted(delay=0.5)
    statuses: list[CertificateStatus] = []

    async def wait() -> None:
        statuses.append(await one.check())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(wait)
    assert one.asked == 1
    assert len(statuses) == 50
    assert all(isinstance(status, GoodStatus) for status in statuses)


async def test_when_the_one_who_asks_is_cancelled_another_asks_for_the_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A client that hangs up takes nobody with it."""
    one = Scripted(delay=0.5)
    statuses: list[CertificateStatus] = []

    async def wait() -> None:
        statuses.append(await one.check())

    async with trio.open_nursery() as nursery:
        first = await nursery.start(_cancellable, one)
        for _ in range(3):
            nursery.start_soon(wait)
        await trio.sleep(0.1)
        first.cancel()
    assert one.asked == 2
    assert len(statuses) == 3
    assert all(isinstance(status, GoodStatus) for status in statuses)
    assert not one.checker._queries


async def _cancellable(
    one: Scripted, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await one.check()
        raise AssertionError("it was to be cancelled")


async def test_a_revocation_is_heard_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """What is remembered of the certificate is gone; others' is not."""
    one = Scripted()
    await one.check()
    await one.check(b"other", WORLD.leaf)
    one.checker.forget([KEY, b"never seen"])
    answering(one, status=ocsp.OCSPCertStatus.REVOKED)
    assert isinstance(await one.check(), RevokedStatus)
    assert isinstance(await one.check(b"other", WORLD.leaf), GoodStatus)


async def test_an_answer_that_was_under_way_is_not_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may be older than the revocation; and whoever comes now does not wait for it."""
    one = Scripted(delay=0.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.check)
        await trio.sleep(0.1)
        one.checker.forget([KEY])
        answering(one, status=ocsp.OCSPCertStatus.REVOKED)
        assert isinstance(await one.check(), RevokedStatus)
    assert isinstance(await one.check(), RevokedStatus)
    assert one.asked == 2


async def test_another_certificate_under_the_same_key_is_asked_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever is remembered is remembered of these very bytes."""
    one = Scripted()
    await one.check()
    status = await one.check(KEY, WORLD.sibling)
    assert isinstance(status, UndeterminedStatus)
    assert status.flaw is UndeterminedReason.SERIAL
    assert one.asked == 2


async def test_the_number_of_certificates_that_are_remembered_is_bounded(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was asked first goes first."""
    monkeypatch.setattr(limits, "ocsp_cached_max", 2)
    one = Scripted()
    for key in (b"1", b"2", b"3", b"3", b"2", b"1"):
        await one.check(key)
    assert one.asked == 4
    assert len(one.checker._cached) == 2


async def test_questions_at_once_are_bounded_and_the_wait_for_a_turn_counts(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow responder is not flooded, and nobody waits in line beyond the deadline."""
    monkeypatch.setattr(limits, "ocsp_queries_max", 1)
    one = Scripted(delay=0.8 * limits.ocsp_seconds_max)
    statuses: dict[bytes, CertificateStatus] = {}

    async def wait(key: bytes) -> None:
        statuses[key] = await one.check(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, b"1")
        await trio.sleep(0.01)
        nursery.start_soon(wait, b"2")
    assert isinstance(statuses[b"1"], GoodStatus)
    assert statuses[b"2"] == UndeterminedStatus(
        UndeterminedReason.TIMEOUT, f"no response within {limits.ocsp_seconds_max:g} s"
    )


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x00", der(WORLD.make_leaf(WORLD.stranger).certificate)]
)
async def test_a_certificate_of_another_issuer_is_in_doubt_and_not_asked_for(
    autojump_clock: trio.testing.MockClock, data: bytes
) -> None:
    """The same serial of our issuer may be another certificate."""
    one = Scripted()
    status = await one.checker.check(KEY, data)
    assert isinstance(status, UndeterminedStatus)
    assert status.flaw is UndeterminedReason.OTHER_ISSUER
    assert one.asked == 0
