"""The slow, obvious model of `_native/json_rpc`: the standard library and the rules of the stub.

It returns what the native code finds, or raises MalformedMessageError with the same code. It does
not know the limits of bytes.
"""

import json
from typing import Any, NoReturn, Self

from crewgate import limits
from crewgate.errors import MalformedMessageError

TOP = ("jsonrpc", "id", "method", "params", "result", "error")
VERSION = "io.modelcontextprotocol/protocolVersion"
META = (
    VERSION,
    "io.modelcontextprotocol/clientCapabilities",
    "progressToken",
    "io.modelcontextprotocol/related-task",
)
TEXTS = {
    "name": "name",
    "uri": "uri",
    "taskId": "task_id",
    "cursor": "cursor",
    "protocolVersion": "initialize_version",
}
PARAMS = (*TEXTS, "arguments", "requestId", "_meta", "task")
FOLDED = str.maketrans(
    {"\u017f": "s", "\u212a": "k", "\u0130": "i", "\u0131": "i"}
) | str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "_-")
ABSENT = object()


class Number(float):
    """A number, and how it is written."""

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, float(text))
        number.text = text
        return number

    text: str


class Members(list[tuple[str, Any]]):
    """The members of an object, each as often as it is written."""


def read(body: bytes) -> dict[str, Any]:
    """Return the decoded attributes of the message."""
    message = document(body)
    if not isinstance(message, Members):
        _refuse(-32600)
    top = _known(message, TOP)
    given = {name for name in TOP if top[name] is not ABSENT}
    identifier = _identifier(top["id"])
    if top["jsonrpc"] != "2.0":
        _refuse(-32600)
    kinds = given & {"method", "result", "error"}
    if len(kinds) != 1:
        _refuse(-32600)
    found = {"kind": "response", "method": "", "id_value": identifier}
    if kinds != {"method"}:
        if "result" in given and identifier is None:
            _refuse(-32600)
        if "error" in given and not isinstance(top["error"], Members):
            _refuse(-32600)
        return found | _params(Members())
    if top["id"] is None or not top["method"]:
        _refuse(-32600)
    found["method"] = _text(top["method"], -32600)
    found["kind"] = "notification" if identifier is None else "request"
    return found | _params(top["params"])


def document(body: bytes) -> Any:
    """Return the value of a JSON text; an object as `Members`, a number as `Number`."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=Members,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
        json.dumps(value, ensure_ascii=False).encode()  # no surrogate is left
    except (ValueError, RecursionError):
        _refuse(-32700)
    if _values(value, 0) > limits.json_rpc_values_max:
        _refuse(-32600)
    return value


def _values(value: Any, depth: int) -> int:
    if not isinstance(value, list):
        return 1
    inside = value
    if isinstance(value, Members):
        inside = [below for _, below in value]
        if len({name for name, _ in value}) != len(value):
            _refuse(-32600)
    if depth == limits.json_rpc_depth_max:
        _refuse(-32600)
    return 1 + sum(_values(below, depth + 1) for below in inside)


def _known(members: Members, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of names; refuse another spelling of one of them."""
    spelt = {_fold(name): name for name in names}
    if any(spelt.get(_fold(name), name) != name for name, _ in members):
        _refuse(-32600)
    return dict.fromkeys(names, ABSENT) | dict(members)


def _fold(name: str) -> str:
    return name.partition("\0")[0].translate(FOLDED)


def _identifier(value: Any) -> int | str | None:
    if value is ABSENT or value is None:
        return None
    if isinstance(value, Number):
        digits = value.text.removeprefix("-")
        if not digits.isdecimal() or value.text == "-0" or int(digits) >= 2**53:
            _refuse(-32600)
        return int(value.text)
    return _text(value, -32600)


def _params(params: Any) -> dict[str, Any]:
    if params is not ABSENT and not isinstance(params, Members):
        _refuse(-32602)
    known = _known(Members() if params is ABSENT else params, PARAMS)
    found: dict[str, Any] = {ours: _text(known[name], -32602) for name, ours in TEXTS.items()}
    meta = known["_meta"]
    if meta is ABSENT or meta is None:
        return found | {"protocol_version": None}
    if not isinstance(meta, Members):
        _refuse(-32602)
    return found | {"protocol_version": _text(_known(meta, META)[VERSION], -32602)}


def _text(value: Any, code: int) -> str | None:
    if value is ABSENT or value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        _refuse(code)
    return value


def _refuse(code: int) -> NoReturn:
    raise MalformedMessageError(code, "the model refuses it")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
