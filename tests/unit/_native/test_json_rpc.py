"""The reader of JSON-RPC messages, beside the slow model."""

import json
import random
from typing import Any

import pytest
import slow_json_rpc
from search_depth import deep

from crewgate import limits
from crewgate._native.json_rpc import (
    JSONRPCMessage,
    MalformedMessageError,
    check_json,
    read_message,
)

ATTRIBUTES = ("kind", "id_value", "method", *slow_json_rpc.TEXTS.values(), "protocol_version")
CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "name": "delete",
            "arguments": {"path": "/tmp/ö", "name": 3, "sure": [True, None, -1.5e3]},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"extensions": {}},
                "progressToken": "p-1",
            },
        },
    }
).encode()
A2A = (
    b'{"jsonrpc":"2.0","id":"a","method":"SendMessage","params":{"message":'
    b'{"taskId" : "t\\u00e9\\ud83d\\ude00","parts":[{"taskId":"other"}],"contextId":null},"id":5}}'
)
RESPONSE = b'{"result":{"tools":[{"name":"a"}],"nextCursor":"2"},"id":-1,"jsonrpc":"\\u0032.0"}'
ERROR = b' {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}\n'


def outcome(body: bytes) -> dict[str, Any] | int:
    """Return the attributes that the native code reads, or the code of its refusal.

    The slow model must agree.
    """
    read: dict[str, Any] | int
    model: dict[str, Any] | int
    try:
        message = read_message(body)
        read = {name: getattr(message, name) for name in ATTRIBUTES}
    except MalformedMessageError as error:
        read = error.code
    try:
        model = slow_json_rpc.read(body)
    except MalformedMessageError as error:
        model = error.code
    # The native code names the first fault in the text; a later one may make it no JSON.
    if read == -32600 and model == -32700:
        return -32700
    assert read == model, body
    return read


def call(params: str, **top: str) -> bytes:
    """A request with members as they are written."""
    members = {"jsonrpc": '"2.0"', "id": "1", "method": '"m"', "params": params} | top
    written = ",".join(f'"{name}":{value}' for name, value in members.items() if value)
    return f"{{{written}}}".encode()


def test_the_members_of_a_call_are_found() -> None:
    """Decoded, and as they are written."""
    message = read_message(CALL)
    assert (message.body, message.kind, message.id, message.id_value) == (CALL, "request", b"7", 7)
    assert (message.method, message.name) == ("tools/call", "delete")
    assert (message.uri, message.task_id, message.cursor) == (None, None, None)
    assert (message.protocol_version, message.initialize_version) == ("2026-07-28", None)
    assert message.member("params", "_meta", "progressToken") == b'"p-1"'
    assert message.member("params", "requestId") is None
    assert message.capabilities == b'{"extensions": {}}'
    assert message.arguments == message.member("params", "arguments")
    assert json.loads(message.arguments or b"") == json.loads(CALL)["params"]["arguments"]
    assert json.loads(message.member("params") or b"") == json.loads(CALL)["params"]
    assert message.meta == message.member("params", "_meta")


def test_a_value_is_found_at_a_path_of_objects() -> None:
    """Neither in arrays, nor below what is no object; the text is decoded."""
    message = read_message(A2A)
    assert message.member("params", "message", "taskId") == b'"t\\u00e9\\ud83d\\ude00"'
    assert message.text("params", "message", "taskId") == "té😀"
    assert message.member("params", "message", "contextId") == b"null"
    assert message.text("params", "message", "contextId") is None
    for path in (("id", "a"), ("params", "message", "parts", "taskId"), ("a", "b"), ("",)):
        assert message.member(*path) is None
        assert message.text(*path) is None
    with pytest.raises(MalformedMessageError, match=r"params\.id is not a string") as refused:
        message.text("params", "id")
    assert (refused.value.code, refused.value.id) == (-32602, b'"a"')
    for path in ((), ("é",), ('"',), ("\\",), ("x" * 65,)):
        with pytest.raises(ValueError, match="name"):
            message.member(*path)


def test_a_string_ends_at_its_quote_wherever_it_begins() -> None:
    """The reader goes on by eight bytes, in which an escaped quote may be at any place."""
    for size in range(20):
        for text in ("x" * size + '\\"', "é" * size + '"\\"', '"' * size):
            written = json.dumps({"a": text, "name": text, "b": 0}, ensure_ascii=False)
            message = read_message(call(written))
            assert (message.name, message.member("params", "b")) == (text, b"0")


def test_a_text_is_replaced_and_all_else_stays() -> None:
    """The new text arrives as it is given, however it is spelled in JSON."""
    path, text = ("params", "message", "taskId"), 'a"\\\n\x01ü😀\u2028'
    changed = read_message(A2A).with_text(path, text)
    assert read_message(changed).text(*path) == text
    start = A2A.index(b'"t\\u00e9')
    end = A2A.index(b',"parts"')
    assert changed[:start] == A2A[:start]
    assert changed.endswith(A2A[end:])
    with pytest.raises(ValueError, match="no string at"):
        read_message(A2A).with_text(("params", "id"), "x")
    with pytest.raises(ValueError, match="surrogates"):
        read_message(A2A).with_text(path, "\ud800")


def test_responses_and_notifications_are_told_apart() -> None:
    """A response has no method; an error may have no id (JSON-RPC 2.0, section 5)."""
    response = read_message(RESPONSE)
    assert (response.kind, response.id, response.method) == ("response", b"-1", "")
    assert response.member("result", "tools") == b'[{"name":"a"}]'
    assert (response.member("params"), response.name) == (None, None)
    error = read_message(ERROR)
    assert (error.kind, error.id, error.id_value) == ("response", b"", None)
    cancelled = read_message(call('{"requestId":12}', id=""))
    assert (cancelled.kind, cancelled.id) == ("notification", b"")
    assert cancelled.member("params", "requestId") == b"12"


def test_a_path_finds_the_same_from_its_start_and_from_what_is_known() -> None:
    """With `is_mcp`, the values of the first names have been found already."""
    path = ("params", "_meta", "io.modelcontextprotocol/related-task", "taskId")
    body = call(json.dumps({"_meta": {path[2]: {"taskId": "t"}}, "task": 1, "name": "n"}))
    known, plain = read_message(body), read_message(body, is_mcp=False)
    assert known.related_task == b'{"taskId": "t"}'
    paths = [path[:count] for count in range(1, 5)]
    for each in (*paths, ("params", "task"), ("params", "name", "x"), ("id",), ("params", "uri")):
        assert known.member(*each) == plain.member(*each)
    assert known.text(*path) == "t"


NOT_JSON = rb"""
    { [ nul truex 'a' ['a'] {,} {"a"} {"a":} {"a":1,} {a:1} [1,] [,1] {] [1]] [1]// /**/[]
    [01] [-] [+1] [--1] [.5] [1.] [1e] [1e+] [0x1] [1_0] [NaN] [Infinity] [" ["\ ["\u ["\"]
    ["\x41"] ["\u12"] ["\u123g"] ["\U0041"] ["\ud800"] ["\udc00"] ["\ud800\ud800"] ["\ud800x"]
    ["\ud800\n"] ["\udc00\ud800"] ["\udc00\udc00"] {"\ud800":1}
""".split()
NOT_JSON += [b"", b" ", b"{} {}", b"{}\x00", b"\xef\xbb\xbf{}", CALL.decode().encode("utf-16")]
NOT_JSON += [
    b"[1 2]",
    b"[\xd9\xa1]",
    b"[\xc2\xa01]",
    b"[\x0b1]",
    b'{"\xff":1}',
    b'["\xed\xa0\x80"]',
]
NOT_JSON += [
    b'["a\nb"]',
    b'["\x00"]',
    b'["\x1f"]',
    b'["\t"]',
    b'["\x80"]',
    b'["\xff"]',
    b'["\xc3"]',
]
NOT_JSON += [b'["\xc0\x80"]', b'["\xe0\x9f\xbf"]', b'["\xf0\x8f\xbf\xbf"]', b'["\xf4\x90\x80\x80"]']


@pytest.mark.parametrize("body", NOT_JSON, ids=repr)
def test_no_json_is_refused(body: bytes) -> None:
    """RFC 8259, alone and inside a message."""
    assert outcome(body) == -32700
    if body.startswith((b"[", b"{")):
        assert outcome(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":%b}}' % body) == -32700


VALUES = rb"""
    [] {} [[[]],{}] -0 0 1e400 -1.5E-7 123456789012345678901 [true,false,null]
    "" "\b\f\n\r\t\/\\\"" "\u0000\u001f" "\ud83d\ude00" "12345678\"345678" {"":0}
    {"a":{"a":[{"a":1},{"a":1}]}} {"\u00e9":1,"e\u0301":1}
""".split()
VALUES += [
    b" [ ] ",
    b"\t\r\n1 ",
    b"[" * 62 + b"]" * 62,
    '"\x7f\x80\ufeff\uffff\U0010ffff"'.encode(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:30]))
def test_json_is_read(value: bytes) -> None:
    """It may be the arguments of a call. Alone it is JSON, and no message."""
    message = read_message(call(f'{{"arguments":{value.decode()}}}'))
    assert message.arguments == value.strip()
    assert isinstance(outcome(message.body), dict)
    assert outcome(value) == -32600


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" + CALL + b"]", -32600),
        (call("", id=""), None),
        (call("", jsonrpc=""), -32600),
        (call("", jsonrpc="2.0"), -32600),
        (call("", jsonrpc='"1.0"'), -32600),
        (call("", method=""), -32600),
        (call("", method='""'), -32600),
        (call("", method="5"), -32600),
        (call("", method="null"), -32600),
        (call("", method='"a\\u0000"'), -32600),
        (call("", method='"%s"' % ("m" * 128)), None),
        (call("", result="1"), -32600),
        (call("", error="{}"), -32600),
        (call("", method="", result="null"), None),
        (call("", method="", result="1", error="{}"), -32600),
        (call("", method="", error='"text"'), -32600),
        (call("", method="", error="{}", id=""), None),
        (call("", method="", result="1", id=""), -32600),
        (call("", method="", result="1", id="null"), -32600),
        *((call("", id=good), None) for good in ("0", "-1", "9007199254740991", '""', '"\\u00e9"')),
        *((call("", id=bad), -32600) for bad in ("null", "1.0", "1e3", "-0", "true", "[]", "{}")),
        *((call("", id=bad), -32600) for bad in ("9007199254740992", "1" * 17, '"\\u0000"')),
        *((call(bad), -32602) for bad in ("[]", "null", "1", '"x"')),
        (call('{"_meta":[]}'), -32602),
        (call('{"_meta":null,"name":null,"cursor":null}'), None),
        *((call(f'{{"{name}":1}}'), -32602) for name in slow_json_rpc.TEXTS),
        *((call(f'{{"{name}":"\\u0000"}}'), -32602) for name in slow_json_rpc.TEXTS),
        (call('{"_meta":{"io.modelcontextprotocol/protocolVersion":{}}}'), -32602),
        (call('{"name":"a","name":"b"}'), -32600),
        (call('{"name":"a","\\u006e\\u0061me":"b"}'), -32600),
        (call('{"arguments":{"a":[{"\\/":1,"/":2}]}}'), -32600),
        (call('{"arguments":{"\\ud83d\\ude00":1,"😀":2}}'), -32600),
        (call('{"n\\u0061me":"a"}'), None),
        (call("[" * 64 + "]" * 64), -32600),
    ],
)
def test_one_message_is_read_and_no_other(body: bytes, code: int | None) -> None:
    """The reader refuses a body with the code that the stub names."""
    result = outcome(body)
    assert code == (result if isinstance(result, int) else None)


SPELLINGS = b"""
    Name NAME n_ame na-me name\\u0000x \\u004eame _name URI ur\xc4\xb1 task\xc4\xb0d task_id TaskId
    taskid TASK-ID ta\xc5\xbfkId tas\xe2\x84\xaaId tas\\u212aId argument\xc5\xbf meta _Meta
    request_id protocol_version
""".split()


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
def test_another_spelling_of_a_known_name_is_refused(spelling: bytes) -> None:
    """A server that takes it for the known one would see another call than was judged."""
    member = f'{{"{spelling.decode()}":"x"}}'
    assert outcome(call(member)) == -32600
    assert isinstance(outcome(call(f'{{"arguments":{member}}}')), dict)
    assert isinstance(outcome(call('{"nam":1,"names":1,"":1,"_":1,"a\\u0000name":1}')), dict)
    assert outcome(call('{"Task":{}}')) == -32600
    for top in ("Method", "ID", "json_rpc", "PARAMS", "Error"):
        assert outcome(call("{}", **{top: "1"})) == -32600


def test_a_looked_for_name_has_one_spelling_on_its_whole_path() -> None:
    """Also a name that only the caller of `member` knows."""
    message = read_message(call('{"message":{"context_id":"x","taskId":"y"}}'))
    assert message.text("params", "message", "taskId") == "y"
    for path in (("params", "message", "contextId"), ("params", "Message", "taskId")):
        with pytest.raises(MalformedMessageError, match="differs from a known one") as refused:
            message.member(*path)
        assert (refused.value.code, refused.value.id) == (-32600, b"1")


def test_another_protocol_has_other_members_in_params() -> None:
    """The reader then leaves the members of `params` alone. It checks the text all the same."""
    body = call('{"task_id":"t","name":5,"_meta":[]}')
    message = read_message(body, is_mcp=False)
    assert (message.name, message.meta, message.text("params", "task_id")) == (None, None, "t")
    check_json(b"[1]")
    for refused in (b'[{"a":1,"a":2}]', b"[1] x"):
        with pytest.raises(MalformedMessageError):
            check_json(refused)
    with pytest.raises(MalformedMessageError, match="params is not an object"):
        read_message(call("[]"), is_mcp=False)


def test_a_refusal_says_where_and_repeats_nothing() -> None:
    """The position is that of the first bad byte, or of the quote before a bad name."""
    for body, at in ((b'{"a":1,"\\u0061":2}', 7), (b'{"a":"secret\xff"}', 12), (b"[1,\n2 3]", 6)):
        with pytest.raises(MalformedMessageError, match=rf" \(at byte {at}\)$") as refused:
            read_message(body)
        assert "secret" not in str(refused.value)
    with pytest.raises(MalformedMessageError, match=r"params\.name") as refused:
        read_message(call('{"name":5}', id='"x"'))
    assert refused.value.id == b'"x"'


def test_every_prefix_of_a_message_is_refused() -> None:
    """A text that ends early is not read beyond its end."""
    for whole in (CALL, A2A, RESPONSE, ERROR.rstrip()):
        for size in range(len(whole)):
            with pytest.raises(MalformedMessageError):
                read_message(whole[:size])


def test_a_second_name_is_refused_wherever_it_is() -> None:
    """Among the first names of an object, which are compared, and among all others."""
    chance = random.Random(8259)
    for count in (2, 8, 9, 10, 64, 65, 80, 2000):
        names = [f'"{number:x}"' for number in range(count)]
        assert read_message(call(f'{{{":0,".join(names)}:[{{"0":{{}}}}]}}')).kind == "request"
        for _ in range(10):
            first, second = sorted(chance.sample(range(count), 2))
            escaped = "".join(f"\\u{ord(char):04X}" for char in f"{first:x}")
            again = chance.choice((names[first], f'"{escaped}"'))
            twice = ":0,".join((*names[:second], again, *names[second + 1 :]))
            assert outcome(call(f"{{{twice}:0}}")) == -32600


def weakly_hashed(count: int) -> bytes:
    """An object whose names are the same to `hash = hash * 31 + byte`, as in Java."""
    names = (
        "".join("Aa" if number >> bit & 1 else "BB" for bit in range(18)) for number in range(count)
    )
    return b"{%b}" % ",".join(f'"{name}":0' for name in names).encode()


def test_hostile_texts_end_soon() -> None:
    """Each has some megabytes. If the work grew with the square, pytest would end the test."""
    names = weakly_hashed(200_000)
    body = call(f'{{"arguments":{names.decode()}}}')
    for _ in range(8):
        message = read_message(body)
    assert message.arguments == names
    assert message.member("params", "arguments", "AaBB") is None
    twice = names[:-1] + b"," + names[-41:-2] + b"1}"
    with pytest.raises(MalformedMessageError, match="same name"):
        read_message(twice)
    with pytest.raises(MalformedMessageError, match="more than 64 levels"):
        read_message(b"[" * 4_000_000)
    escapes = "\\u0041" * 700_000
    assert len(read_message(call(f'{{"name":"{escapes}","{escapes}":1}}')).name or "") == 700_000
    assert len(read_message(call(f'{{"{"_" * 4_000_000}":1}}')).body) > 4_000_000


def test_limits_of_values_and_bytes() -> None:
    """One value or byte more is refused."""
    few = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[%b]}}'
    most = limits.json_rpc_values_max - 6
    assert read_message(few % (b"1," * (most - 1) + b"1")).kind == "request"
    with pytest.raises(MalformedMessageError, match="more than 262144 values"):
        read_message(few % (b"1," * most + b"1"))
    padded = b" " * (limits.json_rpc_bytes_max - len(CALL)) + CALL
    assert read_message(padded).name == "delete"
    with pytest.raises(MalformedMessageError, match="more than 67108864 bytes"):
        read_message(padded + b" ")
    with pytest.raises(MalformedMessageError, match="more than 128 bytes"):
        read_message(call("", id='"%s"' % ("x" * 127)))
    with pytest.raises(MalformedMessageError, match="more than 128 bytes"):
        read_message(call("", method='"%s"' % ("x" * 129)))


def test_only_bytes_are_read() -> None:
    """The reader refuses an object that another thread could change meanwhile."""
    for body in (bytearray(CALL), memoryview(CALL), CALL.decode(), None):
        with pytest.raises(TypeError, match="bytes"):
            read_message(body)  # type: ignore[arg-type]
    empty = JSONRPCMessage()
    assert (empty.body, empty.meta, empty.member("a"), empty.name) == (b"", None, None, None)


PIECES = rb"""
    " \ \u { } [ ] , : null 0 - e . _ A 1.0 \ud800 \udc00 \u0000 "\u006eame" "name":"x", "Name":"x",
    "task_id":1, "id":null, "method":"m", "_meta":{} "params":{}, "result":1, "error":{},
    "jsonrpc":"2.0",
""".split()
PIECES += [b" ", b"\x00", b"\n", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc5\xbf", b"\xe2\x84\xaa"]


def test_a_mutated_message_is_read_as_the_model_reads_it() -> None:
    """Or both refuse it with the same code."""
    chance = random.Random(20260728)
    seeds = [CALL, A2A, RESPONSE, ERROR, call('{"uri":"file:///a","cursor":"2","taskId":"t"}')]
    read = 0
    for _ in range(deep(10_000)):
        body = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            at, to = sorted(chance.randrange(len(body) + 1) for _ in range(2))
            to = min(to, at + chance.choice((0, 0, 1, 3, 20)))
            piece = chance.choice((*PIECES, bytes(body[at:to]), bytes(body[at:to]).swapcase()))
            body[at:to] = piece
        read += isinstance(outcome(bytes(body)), dict)
    assert 500 < read < deep(9_500)
