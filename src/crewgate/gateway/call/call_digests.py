"""The digests of calls and answers, by which the rules on branches compare them.

Without a rule that compares calls, no call has a digest, and nothing is read for one.
"""

from collections.abc import Sequence

import msgspec

from crewgate import limits
from crewgate._native.call_digester import CallDigester
from crewgate._native.table import Table
from crewgate.core.http_types import HeaderField
from crewgate.core.policy import scope
from crewgate.core.rules.activity import EXEMPT, UNKNOWN
from crewgate.core.rules.rule import LoopRules
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.tool_route import ToolRoute
from crewgate.server.exchange import Exchange

_META = "_meta"  # a member of MCP that differs in equal answers
_EVENT_DATA = b"data:"
_NO_ERROR = (b"", b"null")
_DIGITS_MAX = 18  # of a length
_CHUNKS_MAX = 64  # of an answer, until they are joined


class _RPCResult(msgspec.Struct, frozen=True):
    isError: bool = False  # noqa: N815 - a member of MCP


_ABSENT = msgspec.Raw()  # msgspec decodes no `Raw | None` that is an object


class _RPCAnswer(msgspec.Struct, frozen=True):
    error: msgspec.Raw = _ABSENT
    result: _RPCResult = _RPCResult()


class _RPCContent(msgspec.Struct, frozen=True):
    error: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT


_contents = msgspec.json.Decoder(_RPCContent)
_answers = msgspec.json.Decoder(_RPCAnswer)


class AnswerBody:
    """Keeps the beginning of the body of an answer, as far as it can have a digest.

    `is_message`: it is an answer of JSON-RPC, perhaps in a stream of events.
    """

    __slots__ = ("_chunks", "_size", "is_message")

    def __init__(self, *, is_message: bool) -> None:
        self._chunks: list[bytes] | None = []
        self._size = 0
        self.is_message = is_message

    def add(self, data: bytes) -> None:
        """Keep the next bytes."""
        if self._chunks is not None and data:
            self._size += len(data)
            if len(self._chunks) >= _CHUNKS_MAX:  # many small ones take far more room than bytes
                self._chunks = [b"".join(self._chunks)]
            self._chunks.append(data)
            if self._size > limits.digested_bytes_max:
                self._chunks = None

    def may_be_short(self, headers: Sequence[HeaderField]) -> bool:
        """Return whether a body that has not arrived yet may have a digest.

        A message without a length often is one event of a stream, or a short text.
        """
        lengths = [value for name, value in headers if name == b"content-length"]
        if not lengths:
            return self.is_message and self._chunks is not None
        return lengths[0].isdigit() and int(lengths[0][:_DIGITS_MAX]) <= limits.digested_bytes_max

    def drop(self) -> None:
        """Forget the body, because further bytes of it do not come by here."""
        self._chunks = None

    def content(self) -> bytes:
        """Return the body, or the last message of a stream of events; b"" if it has no digest."""
        body = b"".join(self._chunks or ())
        if self.is_message and not body.startswith((b"{", b"[")):
            lines = [line for line in body.split(b"\n") if line.startswith(_EVENT_DATA)]
            return lines[-1].removeprefix(_EVENT_DATA).strip() if lines else b""
        return body

    def is_failed(self) -> bool:
        """Return whether it is a message that says that the call failed."""
        if not self.is_message:
            return False
        try:
            found = _answers.decode(self.content())
        except (msgspec.DecodeError, RecursionError):
            return False
        return bytes(found.error) not in _NO_ERROR or found.result.isError


def _without_envelope(message: bytes) -> bytes:
    """Return the result or the error of a message, whose envelope has another id each time."""
    try:
        found = _contents.decode(message)
    except (msgspec.DecodeError, RecursionError):
        return message
    error = bytes(found.error)
    return (bytes(found.result) if error in _NO_ERROR else error) or message


class CallDigests:
    """The digests under one policy. `digester` is None if no rule compares calls."""

    def __init__(self, loops: LoopRules) -> None:
        volatile = loops.volatile_members
        self._exempt = loops.exempt_tools
        # Compiled code uses it too.
        self.digester = CallDigester(volatile) if loops.compares_calls else None
        self._messages = CallDigester((*volatile, _META)[: limits.volatile_members_max])

    def awaits_body(self, entry: ToolRoute, exchange: Exchange) -> bool:
        """Return whether a call has to wait for the rest of a short body of known length."""
        length = exchange.request.length
        if self.digester is None or length is None or exchange.complete:
            return False
        return length <= limits.digested_bytes_max and not self.is_exempt(entry.name)

    def of(self, table: Table, pending: UndecidedCall) -> int:
        """Return the digest of a call, `UNKNOWN` or `EXEMPT`."""
        entry, message = pending.entry, pending.message
        if self.digester is None or entry is None:
            return UNKNOWN
        if self.is_exempt(entry.name if message is None else message.id):
            return EXEMPT
        if message is not None:
            arguments = message.compared
            if arguments is None:
                return EXEMPT
            method, name = message.method.encode(), message.id.encode()
            return self.digester.call(table, method, name, b"", arguments)
        body, exchange = pending.upstream_body, pending.exchange
        if body is None:
            if not exchange.complete or exchange.buffered > limits.digested_bytes_max:
                return UNKNOWN
            body = exchange.peek()
        if len(body) > limits.digested_bytes_max:
            return UNKNOWN
        request, content = pending.request, bytes(body)  # a body under a quota is of a subclass
        return self.digester.call(table, request.method, request.path, request.query, content)

    def of_answer(self, table: Table, answer: AnswerBody) -> int:
        """Return the digest of an answer; 0 if it has none."""
        if self.digester is None:
            return 0
        if not answer.is_message:
            return self.digester.answer(table, answer.content())
        return self._messages.answer(table, _without_envelope(answer.content()), is_json=True)

    def is_exempt(self, name: str) -> bool:
        """Return whether a tool may be called again and again."""
        return any(scope.matches(pattern, name) for pattern in self._exempt)
