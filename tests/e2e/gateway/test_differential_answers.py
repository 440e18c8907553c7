"""What a client sees of an answer is the server's own word, end to end, or that it failed."""

import re
from collections.abc import Iterator

import pytest
from answer_variants import Answering, read
from differential import Stand, standing
from raw_http import NOTHING, http1_bytes, http2

Field = tuple[bytes, bytes]
GONE = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info",
    b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings",
    b"content-length",
}  # fmt: skip
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+: [\t\x20-\x7e\x80-\xff]*")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("answers"), Answering) as stand:
        yield stand


def numbers(stand: Stand) -> Iterator[int]:
    """Those of all answers, after a good one each."""
    for number in range(len(Answering.given)):
        good = b"GET /items/7 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n"
        assert stand.http1.send(good % stand.token) == [200]
        yield number


def expected(answer: bytes) -> list[Field] | None:
    """The fields that go on, and the gateway's Via; None if the answer must not."""
    fields = read(answer)
    if fields is None:
        return None
    options = [value for name, value in fields if name == b"connection"]
    named = {option.strip().lower() for value in options for option in value.split(b",")}
    kept = [
        field
        for field in fields
        if field[0] not in GONE | named and not field[0].startswith(b"x-crewgate")
    ]
    return [*kept, (b"via", b"1.1 crewgate")]


def compare(number: int, status: int, fields: list[Field], body: bytes) -> list[str]:
    """What is wrong with an answer that came."""
    answer = Answering.given[number]
    found = []
    if status == 200:
        ours = {b"content-length", b"x-crewgate-credits-used", b"x-crewgate-credits-left"}
        passed = [field for field in fields if field[0] not in ours]
        own = [field for field in passed if field[0] == b"date"]
        wanted = expected(answer)
        if wanted is not None and (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT") not in wanted:
            passed = [field for field in passed if field not in own]
        if passed != wanted:
            found.append(f"{passed}, not {wanted}")
        if not b"ok".startswith(body):
            found.append(f"the body {body!r}")
    elif status not in (NOTHING, 302, 401, 407, 502, 503, 999):
        found.append(f"status {status}")
    return [f"{answer[:120]!r}: {fault}" for fault in found]


def test_http1(stand: Stand) -> None:
    """Over HTTP/1.1: one answer, well-formed, framed once, without what was for the gateway."""
    complaints, statuses = [], []
    for number in numbers(stand):
        data = http1_bytes(
            stand.port,
            stand.http1.context,
            b"GET /items/7?%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % (number, stand.token),
        )
        early, _, rest = data.rpartition(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        head, _, body = rest.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        complaints += [f"{number}: a line {one!r}" for one in lines if not _LINE.fullmatch(one)]
        if early or rest.count(b"HTTP/1.1 ") > 1:
            complaints.append(f"{number}: more than one answer: {data!r}")
        statuses.append(int(line.split(b" ")[1]) if line else NOTHING)
        fields = [(name, value) for name, _, value in (one.partition(b": ") for one in lines)]
        framing = [
            field for field in fields if field[0] in (b"content-length", b"transfer-encoding")
        ]
        if len(framing) > 1:
            complaints.append(f"{number}: framed by {framing}")
        if (b"transfer-encoding", b"chunked") in framing:
            body = body.partition(b"\r\n")[2][:2]
        own = (b"connection", b"transfer-encoding")
        rest_of = [field for field in fields if field[0] not in own]
        complaints += compare(number, statuses[-1], rest_of, body)
    assert not complaints
    assert 40 < statuses.count(200) < len(statuses) - 40


def test_http2(stand: Stand) -> None:
    """Over HTTP/2: the same."""
    complaints, statuses = [], []
    for number in numbers(stand):
        status, fields, body, trailers = http2(
            stand.port,
            stand.http2.context,
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":path", b"/items/7?%d" % number),
                (b":authority", b"a"),
                (b"authorization", b"Bearer " + stand.token),
            ],
        )
        statuses.append(status)
        complaints += compare(number, status, fields, body)
        complaints += [
            f"{number}: {field}"
            for field in fields
            if not _LINE.fullmatch(b"%b: %b" % field) or field[1] != field[1].strip(b" \t")
        ]
        if trailers and trailers != [(b"x-sum", b"1")]:
            complaints.append(f"{number}: trailers {trailers}")
    assert not complaints
    assert 40 < statuses.count(200) < len(statuses) - 40
