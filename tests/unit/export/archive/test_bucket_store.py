"""A bucket: what is stored is there, and each failure says what to do and shows no secret."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import md5, sha256
from pathlib import Path

import pytest
import trio
from s3_server import S3Server, write_keys

from crewgate import limits
from crewgate.config import ExportConfig, ReceiverURL
from crewgate.config.bucket import Bucket
from crewgate.errors import (
    ObjectExistsError,
    ObjectMissingError,
    ObjectRefusedError,
    ReceiverError,
    UnreadableObjectError,
)
from crewgate.export.archive.bucket_store import BucketStore

NAME = "machine=gw%2F1/day=2026-12-01/a b+c.parquet"


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def server(running: S3Server) -> S3Server:
    running.reset()
    return running


@asynccontextmanager
async def opened(receiver: ExportConfig) -> AsyncIterator[BucketStore]:
    store = BucketStore(receiver)
    try:
        yield store
    finally:
        await store.close()


async def test_objects_are_stored_listed_read_and_deleted(server: S3Server, tmp_path: Path) -> None:
    """With a signature and permissions that the service checks."""
    keys = server.keys(tmp_path / "keys")
    server.check_requests(is_checked=True)
    async with opened(server.receiver(keys)) as store:
        assert (await store.list("")).objects == []
        await store.put(NAME, b"first")
        with pytest.raises(ObjectExistsError):
            await store.put(NAME, b"second")
        await store.put("machine=gw%2F1/x.txt", b"")
        found = await store.list("machine=gw%2F1/")
        assert (found.folders, [each.name for each in found.objects]) == (
            ["day=2026-12-01/"],
            ["x.txt"],
        )
        assert abs(found.objects[0].stored - found.now) < 60
        assert await store.get(NAME) == b"first"
        await store.delete(NAME)
        await store.delete(NAME)
        with pytest.raises(ObjectMissingError):
            await store.get(NAME)
    server.check_requests(is_checked=False)
    assert server.names() == ["crewgate/machine=gw%2F1/x.txt"]


async def test_a_service_that_does_not_know_conditions_replaces_an_object(
    server: S3Server, tmp_path: Path
) -> None:
    """Whether it ignores the field, or refuses a request that has it."""
    keys = server.keys(tmp_path / "keys")
    with server.without_conditions():
        async with opened(server.receiver(keys)) as store:
            await store.put(NAME, b"first")
            await store.put(NAME, b"second")
            assert await store.get(NAME) == b"second"
    no = answer("501 Not Implemented", b"<Error><Code>NotImplemented</Code></Error>")
    async with answering(no, keys) as (store, fake):
        with pytest.raises(ReceiverError, match=r"HTTP status 501 \(NotImplemented\)"):
            await store.put(NAME, b"first")
        fake.answer = answer("200 OK")
        await store.put(NAME, b"second")
    assert [b"if-none-match" in each.lower() for each in fake.requests] == [True, False, False]


async def test_an_object_that_another_request_stores_at_once_is_tried_again(tmp_path: Path) -> None:
    """The service does not say yet which of the two it has."""
    keys = write_keys(tmp_path / "keys", "a", "b")
    conflict = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
    async with answering(answer("409 Conflict", conflict), keys) as (store, _):
        with pytest.raises(ReceiverError, match="409") as found:
            await store.put(NAME, b"")
        assert not isinstance(found.value, ObjectExistsError)


async def test_a_list_has_all_pages(server: S3Server, tmp_path: Path) -> None:
    """And names that a document cannot have as they are."""
    server.fill("crewgate/a/\x01 <&", *(f"crewgate/a/{number:04d}" for number in range(1003)))
    keys = write_keys(tmp_path / "keys", "a", "b")
    async with opened(server.receiver(keys)) as store:
        found = [each.name for each in (await store.list("a/")).objects]
    assert found == ["\x01 <&", *(f"{number:04d}" for number in range(1003))]


async def test_the_keys_are_read_for_each_request(server: S3Server, tmp_path: Path) -> None:
    good = server.keys(tmp_path / "keys").read_text()
    server.check_requests(is_checked=True)
    keys = write_keys(tmp_path / "keys", "AKIAX", "s3cret")
    async with opened(server.receiver(keys)) as store:
        with pytest.raises(ReceiverError, match="InvalidAccessKeyId") as found:
            await store.put(NAME, b"")
        assert found.value.mend == "check the file `credentials`"
        keys.write_text(good)
        await store.put(NAME, b"")
        keys.write_text(good.replace("aws_secret_access_key = ", "aws_secret_access_key = x"))
        with pytest.raises(ReceiverError, match="SignatureDoesNotMatch") as found:
            await store.put(NAME, b"")
        assert found.value.mend == "check the file `credentials` and `region`"


async def test_what_a_user_may_not_do_is_said(server: S3Server, tmp_path: Path) -> None:
    keys = server.keys(tmp_path / "keys", ["s3:PutObject"])
    server.check_requests(is_checked=True)
    async with opened(server.receiver(keys)) as store:
        await store.put(NAME, b"")
        with pytest.raises(ReceiverError, match=r"403 \(AccessDenied\)$") as found:
            await store.delete(NAME)
        assert found.value.mend == "let the user of `credentials` delete objects"
        with pytest.raises(ReceiverError, match="list its objects"):
            await store.list("")


async def test_a_bucket_that_is_missing_is_said(server: S3Server, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", "a", "b")
    async with opened(server.receiver(keys, "no-such-bucket")) as store:
        for request in (store.list(""), store.put(NAME, b"")):
            with pytest.raises(ReceiverError, match=r"404 \(NoSuchBucket\)$") as found:
                await request
            assert found.value.mend == "make the bucket, or check `bucket`"


class Answering:
    """A server that answers each request with the same bytes, or with nothing."""

    def __init__(self, listener: trio.SocketListener, answer: bytes | None) -> None:
        self.listener, self.answer = listener, answer
        self.requests: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            self.requests.append(await stream.receive_some(65_536))
            if self.answer is None:
                await trio.sleep_forever()
            await stream.send_all(self.answer or b"")


@asynccontextmanager
async def answering(
    answer: bytes | None, keys: Path, **more: object
) -> AsyncIterator[tuple[BucketStore, Answering]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    fake = Answering(listener, answer)
    url = ReceiverURL("http", "127.0.0.1", port, "")
    receiver = ExportConfig(
        "archive", "parquet", url, bucket=Bucket("b"), credentials=keys, **more  # type: ignore[arg-type]
    )  # fmt: skip
    async with trio.open_nursery() as nursery, opened(receiver) as store:
        nursery.start_soon(trio.serve_listeners, fake.serve, [listener])
        yield store, fake
        nursery.cancel_scope.cancel()


def answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    head = "".join(f"{each}\r\n" for each in fields)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>s3cret</Message></Error>"


async def test_a_request_has_digests_by_which_the_service_verifies_it(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", "a", "b")
    async with answering(answer("200 OK"), keys) as (store, fake):
        await store.put(NAME, b"content")
    head, _, body = fake.requests[0].lower().partition(b"\r\n\r\n")
    assert body in {b"", b"content"}
    digest = b64encode(md5(b"content").digest()).lower()
    assert b"content-md5: " + digest in head
    assert b"x-amz-content-sha256: " + sha256(b"content").hexdigest().encode() in head


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer("503 Slow Down", SLOW_DOWN, "retry-after: 7"), "HTTP status 503 (SlowDown)"),
        (answer("400 Bad", b"<Error><Code>BadDigest</Code></Error>"), "400 (BadDigest)"),
        (answer("500 Error", b"s3cret"), "HTTP status 500"),
        (answer("301 Moved", b"<Error><Code>PermanentRedirect</Code></Error>"), "check `region`"),
        (answer("403 No", b"<Error><Code>../s3cret x</Code></Error>"), "HTTP status 403"),
        (answer("403 No", b"<Error><Code>RequestTimeTooSkewed</Code></Error>"), "set the clock"),
        (answer("200 OK", b"<html>"), "its answer is not XML; check `url`"),
        (answer("200 OK", b"<a><Contents><Key>x</Key></Contents></a>"), "without a time"),
        (b"SSH-2.0-OpenSSH\r\n", "its answer is not HTTP/1.1"),
    ],
)
async def test_an_answer_that_is_no_good_one_is_said(tmp_path: Path, said: bytes, why: str) -> None:
    """Of what the service sends, an error shows the code only."""
    keys = write_keys(tmp_path / "keys", "AKIAX", "hidden")
    async with answering(said, keys) as (store, fake):
        with pytest.raises(ReceiverError) as found:
            await store.list("")
        assert why in found.value.text_and_mend
        assert "s3cret" not in found.value.text_and_mend
        assert found.value.retry_seconds == (7 if "SlowDown" in why else None)
        assert b"hidden" not in fake.requests[0]


async def test_an_object_that_nobody_can_read_is_told_from_a_failure(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is too large is not read to its end."""
    monkeypatch.setattr(limits, "archive_object_bytes_max", 500)
    keys = server.keys(tmp_path / "keys")
    async with opened(server.receiver(keys)) as store:
        for size in (500, 501, 10_000):
            await store.put(f"{size}", b"x" * size)
        server.fill("crewgate/empty")
        assert await store.get("500") == b"x" * 500
        for name in ("501", "10000"):
            with pytest.raises(UnreadableObjectError, match="larger than an object of an archive"):
                await store.get(name)
        with pytest.raises(UnreadableObjectError, match="416"):
            await store.get("empty")
    archived = answer("403 No", b"<Error><Code>InvalidObjectState</Code></Error>")
    async with answering(archived, keys) as (store, fake):
        with pytest.raises(UnreadableObjectError, match="InvalidObjectState"):
            await store.get(NAME)
        assert b"range: bytes=0-500\r\n" in fake.requests[0].lower()
        with pytest.raises(ReceiverError) as found:
            await store.put(NAME, b"")
        assert type(found.value) is ReceiverError
    denied = answer("403 No", b"<Error><Code>AccessDenied</Code></Error>")
    async with answering(denied, keys) as (store, _):
        with pytest.raises(ObjectRefusedError, match="cannot get its objects") as refused:
            await store.get(NAME)
        assert refused.value.mend == "let the user of `credentials` get its objects"


async def test_a_service_that_is_silent_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "archive_request_seconds", 0.05)
    keys = write_keys(tmp_path / "keys", "a", "b")
    async with answering(None, keys) as (store, _):
        with pytest.raises(ReceiverError, match=r"no answer within 0\.05 s"):
            await store.put(NAME, b"x" * 100_000)


async def test_a_bucket_may_be_in_the_name_of_the_host() -> None:
    """Then it is not in the path."""
    url = ReceiverURL("https", "b.oss.example", 443, "")
    store = BucketStore(ExportConfig("archive", "parquet", url, bucket=Bucket("b", "c/")))
    assert store._base == "/"
    assert BucketStore(ExportConfig("a", "parquet", bucket=Bucket("b")))._base == "/b/"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: no file below"),
        ("s3cret", "is not as the tools of Amazon write it"),
        ("[default]\naws_access_key_id = s3cret\n", "has no aws_secret_access_key below [default]"),
        ("[other]\naws_access_key_id = s3cret\n", "has no aws_access_key_id"),
        ("[default]\naws_access_key_id = s3cret é\naws_secret_access_key = x", "is no key"),
        ("[default]\ns3cret = 1\ns3cret = 2\n", "is not as the tools"),
    ],
)
async def test_a_bad_file_of_keys_is_said(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "keys").write_text(text)
    receiver = ExportConfig("x", "parquet", bucket=Bucket("b"), credentials=tmp_path / "keys")
    async with opened(receiver) as store:
        with pytest.raises(ReceiverError) as found:
            await store.list("")
    assert why in str(found.value)
    assert found.value.mend
    assert "s3cret" not in found.value.text_and_mend
    assert (str(tmp_path / "keys") in str(found.value)) == (text is not None)
