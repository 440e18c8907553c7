"""What a tool's server sees is what was judged, or the request was refused, in thousands of ways.

A recording server reads naively what arrives; `differential.faults` compares it with what was sent,
with the routes, and with the audit. Requests follow each other on a connection, so that what one
leaves behind would be seen in the next. Statuses are not looked at: a variant may be refused in any
way.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import message_variants as messages
import pytest
import request_variants as variants
from differential import MOVED, TOOLS, Sent, Stand, faults, standing, with_token
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import NOTHING, SILENCE, http1, http2
from recording_server_h2 import H2Recorder

NUMBERS = count()
VARIANT = b"x-variant"
ABSOLUTE = re.compile(rb"https://([A-Za-z0-9.:-]+)(/.*)", re.IGNORECASE | re.DOTALL)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("differential")) as stand:
        yield stand


@pytest.fixture(scope="module")
def stand_h2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("differential-h2"), H2Recorder) as stand:
        yield stand


def over_http1(stand: Stand, sent: Sent) -> int:
    """Send it in one message, framed by a length or, for its trailers, in one chunk."""
    lines = [
        b"%b %b HTTP/1.1" % (sent.method, sent.target),
        *[b"Host: " + host for host in sent.named],
        b"Authorization: Bearer " + stand.token,
        *[b"%b: %b" % field for field in sent.fields],
    ]
    body = sent.body
    if sent.trailers:
        lines.append(b"Transfer-Encoding: chunked")
        tail = b"".join([b"%b: %b\r\n" % field for field in sent.trailers])
        body = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, tail)
    elif body and all(name.lower() != b"content-length" for name, _ in sent.fields):
        lines.append(b"Content-Length: %d" % len(body))
    data = b"\r\n".join(lines) + b"\r\n\r\n" + body
    return stand.http1.send(data)[0]


def over_http2(stand: Stand, sent: Sent) -> int:
    """Send it in one stream."""
    fields = [
        (b":method", sent.method),
        (b":scheme", b"https"),
        (b":path", sent.target),
        *([] if sent.authority is None else [(b":authority", sent.authority)]),
        *[(b"host", host) for host in sent.hosts or ()],
        (b"authorization", b"Bearer " + stand.token),
        *sent.fields,
    ]
    return stand.http2.send(fields, sent.body or None, sent.trailers)[0]


Send = Callable[[Stand, Sent], int]
PROTOCOLS = pytest.mark.parametrize(
    ("send", "version"), [(over_http1, b"1.1"), (over_http2, b"2")], ids=["http1", "http2"]
)


class Round:
    """Variants that were sent, each with a number in a field, and what reached the server."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._first = len(stand.seen)
        self._sent: dict[bytes, tuple[str, Sent | None]] = {}
        self.statuses: list[int] = []
        self.complaints: list[str] = []

    def number(self, name: str, sent: Sent | None = None) -> bytes:
        """A number for a variant; `sent` is its one reading, if it has one."""
        number = b"%d" % next(NUMBERS)
        self._sent[number] = (name, sent)
        return number

    def send(self, send: Send, name: str, sent: Sent, version: bytes) -> None:
        """Send one of which at most one request may come."""
        status = self._send(send, name, sent, version)
        client = self._stand.http2 if version == b"2" else self._stand.http1
        if status == NOTHING and not client.is_fresh:  # it may have ended before
            status = self._send(send, name, sent, version)
        self.note(name, status)

    def _send(self, send: Send, name: str, sent: Sent, version: bytes) -> int:
        number = self.number(name)
        fields = [*sent.fields, (VARIANT, number)]
        asked = replace(sent, fields=fields, version=version)
        self._sent[number] = (name, _plainly(asked))
        return send(self._stand, with_token(asked, self._stand.token))

    def note(self, name: str, status: int) -> None:
        """Take the status of an answer."""
        self.statuses.append(status)
        if status == SILENCE:
            self.complaints.append(f"{name}: neither an answer nor an end")

    def end(self) -> list[str]:
        """All that is wrong."""
        stand = self._stand
        seen = stand.seen[self._first :]
        judged = stand.judged(seen)
        came: set[bytes] = set()
        for one in seen:
            number = b"".join(one.values(VARIANT))
            name, sent = self._sent.get(number, (f"{one.raw[:200]!r}", None))
            wrong = faults(stand, one, sent)
            if number not in self._sent or number in came:
                wrong.append("a request that nobody made")
            came.add(number)
            told = [one.values(b"x-crewgate-request"), one.values(b"x-crewgate-tool")]
            if [judged.get(request.decode()) for request in told[0]] != [
                tool.decode() for tool in told[1]
            ]:
                wrong.append("the audit names another tool")
            self.complaints += [f"{name}: {fault}" for fault in wrong]
        if self.statuses.count(200) > len(seen):
            self.complaints.append("an answer that the server did not give")
        return self.complaints


def _plainly(sent: Sent) -> Sent:
    """What is forwarded, with the one authority that was named.

    HTTP/1.1 ignores blanks round a target and a value, and knows whole URLs.
    """
    if sent.version == b"2":
        return sent if sent.authority is not None else replace(sent, authority=b"".join(sent.named))
    hosts, target = [host.strip(b" \t") for host in sent.named], sent.target.strip(b" ")
    url = ABSOLUTE.fullmatch(target)
    if url is not None:
        return replace(sent, target=url[2], authority=url[1], hosts=hosts)
    return replace(sent, target=target, authority=hosts[0] if hosts else b"", hosts=hosts)


@PROTOCOLS
def test_every_route_is_served(stand: Stand, send: Send, version: bytes) -> None:
    """The stand works: each tool is reached by its own path, and its server sees just that."""
    made = Round(stand)
    tools = (*TOOLS, *MOVED)
    for name, method, route, _ in tools:
        path = route.replace("{id}", "7").replace("{model}", "other").replace("*", "a/b.C")
        sent = Sent(method.encode(), path.encode() + b"?q=%20&q", [(b"accept", b"*/*")])
        made.send(send, name, sent, version)
    assert not made.end()
    assert made.statuses == [200] * len(tools)


@PROTOCOLS
def test_paths_that_are_others_at_the_server(stand: Stand, send: Send, version: bytes) -> None:
    """What is captured goes on byte for byte, and reaches no tool that has that path there."""
    made = Round(stand)
    for name, sent in variants.moved():
        made.send(send, name, sent, version)
    assert not made.end()
    assert 60 < made.statuses.count(200) < len(made.statuses) - 60


@PROTOCOLS
def test_tools_of_one_path_on_two_hosts(stand: Stand, send: Send, version: bytes) -> None:
    """The one host that is named says whose server sees a call; what one refuses, both refuse."""
    fates = []
    for this, other in ((b"one", b"two"), (b"two", b"one")):
        made = Round(stand)
        for name, sent in variants.hosted(this, other, http2=version == b"2"):
            made.send(send, name, sent, version)
        assert not made.end()
        fates.append(made.statuses)
    assert fates[0] == fates[1]
    assert 25 < fates[0].count(200) < len(fates[0]) - 400


@PROTOCOLS
def test_targets_methods_and_fields(stand: Stand, send: Send, version: bytes) -> None:
    """Whatever is spelled in any way in a request's line or its fields: as judged, or refused."""
    made = Round(stand)
    for name, sent in (*variants.requests(), *variants.doubled()):
        made.send(send, name, sent, version)
    assert not made.end()
    assert len(made.statuses) > 1400
    assert 200 < made.statuses.count(200) < len(made.statuses) - 700


@PROTOCOLS
def test_trailers(stand: Stand, send: Send, version: bytes) -> None:
    """Trailers pass as fields do: none is a credential, frames a message or passes for ours."""
    made = Round(stand)
    for name, sent in (*variants.trailers(), *variants.doubled_in_trailers()):
        made.send(send, name, sent, version)
    assert not made.end()
    assert 20 < made.statuses.count(200) < len(made.statuses) - 50


@PROTOCOLS
def test_http2_to_the_server(stand_h2: Stand, send: Send, version: bytes) -> None:
    """The same where the server speaks HTTP/2: no field is read anew on the way."""
    made = Round(stand_h2)
    for name, sent in (*variants.dressed(), *variants.trailers(), *variants.doubled()):
        made.send(send, name, sent, version)
    assert not made.end()
    assert 200 < made.statuses.count(200) < len(made.statuses) - 200


def test_framing(stand: Stand) -> None:
    """No length, coding, chunk or version makes two requests of one, or hides a token's lack."""
    made = Round(stand)
    for name, tail, protocol in messages.messages():
        head = b"POST /search %b\r\nHost: a\r\nAuthorization: Bearer %b\r\n%b: %b\r\n"
        data = head % (protocol, stand.token, VARIANT, made.number(name)) + tail
        made.statuses += http1(stand.port, stand.http1.context, data, seconds=0.3)[:1]
    assert not made.end()
    assert 20 < made.statuses.count(200) < len(made.statuses) - 300


def test_hosts(stand: Stand) -> None:
    """The server's own name stands in Host, whatever a client says in any number of them."""
    made = Round(stand)
    for hosts in messages.HOSTS:
        for target in (b"/search", b"https://a/search", b"https://b/search"):
            name = f"{hosts!r} {target!r}"
            lines = b"".join([b"Host: %b\r\n" % host for host in hosts])
            head = b"POST %b HTTP/1.1\r\n%bAuthorization: Bearer %b\r\n%b: %b\r\n\r\n"
            data = head % (target, lines, stand.token, VARIANT, made.number(name))
            made.note(name, http1(stand.port, stand.http1.context, data)[0])
    assert not made.end()
    assert 5 < made.statuses.count(200) < len(made.statuses) - 30


def test_heads_of_http2(stand: Stand) -> None:
    """Pseudo fields that are missing, doubled, late or strange, and fields of another protocol."""
    made = Round(stand)
    for name, fields in messages.heads():
        more = [(b"authorization", b"Bearer " + stand.token), (VARIANT, made.number(name))]
        made.note(name, http2(stand.port, stand.http2.context, [*fields, *more])[0])
    assert not made.end()
    assert 10 < made.statuses.count(200) < len(made.statuses) - 50


pieces = st.sampled_from(
    [b"items", b"new", b"Items", b"admin", b"search", b"moved", b"far", b"v2", b"based", b"v1",
     b"models", b"m:generate", b"7", b"/", b"/",
     b"/", b"//", b".", b"..", b"%2e", b"%2F", b"%5c", b"\\", b";", b"?", b"#", b"%00", b"%",
     b"%25",
     b"%6e", b"%C3%A9", b"%ef%bc%8f", b" ", b"\x00", b"\xff", b"\t", b"@a", b"https://a", b"&",
     b"+"]
)  # fmt: skip
targets = st.lists(pieces, min_size=1, max_size=12).map(lambda found: b"/" + b"".join(found))
names = st.one_of(
    st.sampled_from(variants.NAMES),
    st.text("x-_.CREWGATEcrewgatetool", min_size=1, max_size=16).map(str.encode),
    st.binary(max_size=6),
)
values = st.one_of(st.sampled_from(sorted(variants.VALUES.values())), st.binary(max_size=12))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"Get"]),
            targets,
            st.lists(st.tuples(names, values), max_size=4),
            st.sampled_from([(over_http1, b"1.1"), (over_http2, b"2")]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_anything(
    stand: Stand, asked: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], tuple[Send, bytes]]]
) -> None:
    """Whatever is put together of such pieces, too."""
    made = Round(stand)
    for method, target, fields, (send, version) in asked:
        made.send(send, f"{method!r} {target!r} {fields!r}", Sent(method, target, fields), version)
    assert not made.end()
