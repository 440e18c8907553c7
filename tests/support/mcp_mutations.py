"""Mutations of valid MCP requests: what differs between two readers of one message."""

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from mcp_messages import encoded, headers, legacy, modern

from crewgate.core.http_types import HeaderField

Request = tuple[list[HeaderField], bytes]
VALUES = ("delete", "Read", "read\0", "", None, 5, {}, ["read"], "file:///srv/keys/a", "2025-11-25")
NAMES = ("name", "uri", "taskId", "method", "cursor")
CHARSETS = (
    "utf-8", "UTF8", "utf-7", "shift_jis", "gbk", "big5", "utf-16", "cp037", "iso-2022-jp",
)  # fmt: skip
BYTES = (
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\xa2",
    b"\xed\xa0\x80",
    b"\x0b",
    b"//x\n",
    b",",
    b"]",
)


def requests() -> list[Request]:
    """Valid requests of both revisions."""
    found: list[Request] = []
    for message in (
        modern("tools/call", name="read", arguments={"a": {"b": [1, "\u3041\\"]}}),
        modern("prompts/get", name="gr\u00fc\u00dfe"),
        modern("resources/read", uri="file:///srv/docs/a"),
        modern("tools/list"),
    ):
        fields = headers(message)
        name = fields.get("mcp-name", "")
        if not name.isascii():
            fields["mcp-name"] = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
        pairs = [(each.encode(), value.encode()) for each, value in fields.items()]
        found.append((pairs, encoded(message)))
    kind = (b"content-type", b"application/json")
    messages = (
        legacy("tools/call", name="read", arguments={"name": "delete"}),
        legacy("resources/read", uri="file:///srv/docs/a"),
        legacy("prompts/get", name="greet"),
    )
    fields = [kind, (b"mcp-protocol-version", b"2025-11-25")]
    return [*found, *((fields, encoded(message)) for message in messages)]


def mutated(request: Request, dice: random.Random) -> Request:
    """Return a request with one to three changes."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        request = dice.choice(_MUTATIONS)(request, dice)
    return request


def _respelt(name: str, dice: random.Random) -> str:
    """Return a name as some parser could take it for another."""
    letter = {"s": "\u017f", "k": "\u212a", "i": "\u0131"}
    return dice.choice(
        (
            name,
            name.upper(),
            name.capitalize(),
            "".join(letter.get(each, each) for each in name),
            "".join(f"_{each.lower()}" if each.isupper() else each for each in name),
            name + "\0",
            name + "_",
        )
    )


def repeat_member(
    request: Request,
    dice: random.Random,
    names: Sequence[str] = NAMES,
    values: Sequence[object] = VALUES,
) -> Request:
    """Write a member of some object again, with another value or spelling."""
    fields, body = request
    try:
        message = json.loads(body.decode())
    except ValueError:
        return request
    objects: list[dict[str, Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            objects.append(value)
        for below in value.values() if isinstance(value, dict) else value:
            if isinstance(below, dict | list):
                collect(below)

    if not isinstance(message, dict):
        return request
    collect(message)
    chosen = dice.choice([each for each in objects if each] or [message])
    name = dice.choice([*chosen, *names])
    mark = f"MARK{dice.getrandbits(60)}"
    items = list(chosen.items())
    items.insert(dice.randint(0, len(items)), (mark, dice.choice(values)))
    chosen.clear()
    chosen.update(items)
    quoted = json.dumps(_respelt(name, dice), ensure_ascii=dice.random() < 0.5)
    if dice.random() < 0.3 and len(quoted) > 2:
        quoted = f'"\\u{ord(quoted[1]):04x}{quoted[2:]}' if quoted[1] != "\\" else quoted
    text = json.dumps(message, ensure_ascii=dice.random() < 0.5, indent=dice.choice((None, 1)))
    return fields, text.replace(f'"{mark}"', quoted).encode()


def change_bytes(request: Request, dice: random.Random) -> Request:
    """Cut, insert, overwrite or append bytes of the body."""
    fields, body = request
    at = dice.randint(0, len(body))
    kind = dice.randrange(6)
    if kind == 0:
        body = body[:at]
    elif kind == 1:
        body = body[:at] + dice.choice(BYTES) + body[at:]
    elif kind == 2:
        body = body[:at] + bytes((dice.randrange(256),)) + body[at + 1 :]
    elif kind == 3:
        body += dice.choice((b" ", b"\n{}", b"\0", body, b"]"))
    elif kind == 4:
        body = dice.choice((b"[" + body + b"]", b"[%b,%b]" % (body, body), b"\xef\xbb\xbf" + body))
    else:
        deep = dice.choice((10, 200))
        body = body.replace(b'"read"', b"[" * deep + b'"read"' + b"]" * deep)
    return fields, body


def change_id(request: Request, dice: random.Random) -> Request:
    """Give the message another id, which not every parser reads."""
    fields, body = request
    number = dice.choice((
        b"1.0", b"1e0", b"-0", b"01", b"9007199254740993", b"1" * 400, b"NaN", b"null",
        b'"\\u0000"', b'"%b"' % (b"a" * 3000), b"[1]", b"true", b"0x1", b"-1", b'"1"',
    ))  # fmt: skip
    return fields, body.replace(b'"id": 1', b'"id": ' + number, 1)


def change_field(request: Request, dice: random.Random) -> Request:
    """Change, drop, repeat or rename one header."""
    fields, body = list(request[0]), request[1]
    at = dice.randrange(len(fields))
    name, value = fields[at]
    coded = base64.b64encode(value)
    others = (
        b"delete", value.upper(), value + b" ", b"\t" + value, value + b"\0", b"",
        value + b", read", b"=?base64?%b?=" % coded, b"=?BASE64?%b?=" % coded,
        b"=?base64?%b?=" % coded.rstrip(b"="), b"=?base64?ZGVsZXRl?=", b"=?base64??=",
        b"=?utf-8?b?cmVhZA==?=", value.replace(b"e", b"%65"),
    )  # fmt: skip
    kind = dice.randrange(4)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields[at] = (name, dice.choice(others))
    elif kind == 2:
        fields.insert(dice.randint(0, len(fields)), (name, dice.choice((value, *others))))
    else:
        fields.append((name.replace(b"-", dice.choice((b"_", b".", b"-"))), dice.choice(others)))
    return fields or [(b"accept", b"*/*")], body


def change_coding(request: Request, dice: random.Random) -> Request:
    """Say that the body has another charset or coding, and perhaps make one that fits."""
    fields, body = list(request[0]), request[1]
    charset = dice.choice(CHARSETS)
    kind = dice.choice((f"application/json; charset={charset}", f'text/json;charset="{charset}"'))
    fields.append((b"content-type", kind.encode()))
    if dice.random() < 0.7:
        fields = [field for field in fields if field != (b"content-type", b"application/json")]
    if dice.random() < 0.3:
        coding = dice.choice((b"gzip", b"deflate", b"identity", b"br"))
        fields.append((b"content-encoding", coding))
    if charset == "utf-7":
        hidden = b'"read+ACI-,+ACI-name+ACI-:+ACI-delete"'
        body = body.replace(b'"read"', hidden)
    if charset in {"shift_jis", "gbk", "big5"}:
        swallowed = '"\u3041\\", "name":"delete'.encode()
        body = body.replace(b'"read"', b'"read", "x": ' + swallowed + b'"', 1)
    return fields, body


_MUTATIONS: tuple[Callable[[Request, random.Random], Request], ...] = (
    repeat_member,
    repeat_member,
    change_bytes,
    change_id,
    change_field,
    change_field,
    change_coding,
)
