"""Rewrites messages in JSON: the members of a `Fields`, and no other byte of the message.

A server may read members in two spellings ("taskId" and "task_id", ProtoJSON), and lenient ones in
any case. So a request must spell each judged member in one of the two, and have it once.
"""

import msgspec

from crewgate import limits
from crewgate.core import raw_json
from crewgate.core.a2a.errors import A2AError
from crewgate.core.a2a.message_fields import ENDED, Fields, TextKind
from crewgate.core.a2a.text_rewriting import TextRewriter
from crewgate.core.json_member_names import folded_words
from crewgate.core.raw_json import UNREADABLE

_text: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode
_SPACE = b" \t\r\n"
# A message that names one of these belongs to a context already.
_IN_CONTEXT = ("contextId", "context_id", "taskId", "task_id")
_EMPTY = (b"null", b'""')


def rewrite(data: bytes, fields: Fields, rewriter: TextRewriter) -> bytes:
    """Return a message, whose outermost value is an object, with other texts.

    The caller has checked that a request has no member twice.

    Raises:
        A2AError: The message cannot be read, or must not pass.
    """
    return _Message(rewriter).object(data, fields)


class _Message:
    """One message; the number of values that it reads is bounded."""

    def __init__(self, rewriter: TextRewriter) -> None:
        self._rewriter = rewriter
        self._left = limits.a2a_json_values_max

    def object(self, data: bytes, fields: Fields) -> bytes:
        if fields.card is not None:
            return self._rewriter.json_card(data)
        members = {name: bytes(raw).strip(_SPACE) for name, raw in self._members(data).items()}
        self._count(len(members))
        known = [name for name in members if name in fields.by_name]
        if self._rewriter.is_strict:
            self._check_spelling(members, known, fields)
        elif fields.lists_tasks:
            self._keep_own_tasks(members)
        elif fields.task_ids:
            self._note_task(members, fields)
        new = {name: self._value(members[name], fields.by_name[name].content) for name in known}
        if fields.is_sent:
            self._begin_context(new)
        if not fields.lists_tasks and new.items() <= members.items():
            return data
        members.update(new)
        pairs = [b"%b:%b" % (_encode(name), value) for name, value in members.items()]
        return b"{%b}" % b",".join(pairs)

    def _value(self, data: bytes, content: TextKind | Fields) -> bytes:
        first = data[:1]
        if first == b"n":  # null stands for no member
            return data
        if first == b"[":
            items = [bytes(raw).strip(_SPACE) for raw in self._items(data)]
            self._count(len(items))
            return b"[%b]" % b",".join([self._value(item, content) for item in items])
        if isinstance(content, TextKind):
            if first != b'"':
                raise self._malformed("a member that must be a text is none")
            text = self._decoded(data)
            return data if not text else _encode(self._text(content, text))
        if first != b"{":
            raise self._malformed("a member that must be an object is none")
        return self.object(data, content)

    def _text(self, kind: TextKind, text: str) -> str:
        before = self._rewriter.ids_converted
        found = self._rewriter.text(kind, text)
        self._count((self._rewriter.ids_converted - before) * limits.a2a_values_per_id)
        return found

    def _begin_context(self, members: dict[str, bytes]) -> None:
        """Name a new context in a message that names neither a context nor a task."""
        if any(members.get(name, b"null") not in _EMPTY for name in _IN_CONTEXT):
            return
        context = self._rewriter.begin_context()
        if context:
            name = "context_id" if "context_id" in members else "contextId"
            members[name] = _encode(context)

    def _check_spelling(self, members: dict[str, bytes], known: list[str], fields: Fields) -> None:
        names = {folded_words(name) for name in known}
        if len(names) != len(known):
            raise self._malformed("a member stands in two spellings")
        for name in members.keys() - set(known):
            if folded_words(name) in fields.folded:
                raise self._malformed("a member is spelled in another case than A2A spells it")

    def _keep_own_tasks(self, members: dict[str, bytes]) -> None:
        """Take the tasks of others out of a list, and count the rest."""
        data = members.get("tasks", b"[]")
        items = [bytes(raw) for raw in self._items(data)] if data[:1] == b"[" else []
        kept = [item for item in items if self._rewriter.keeps_task(self._context_of(item))]
        members["tasks"] = b"[%b]" % b",".join(kept)
        if len(kept) != len(items) or self._rewriter.hides_total:
            for name in members.keys() & {"totalSize", "total_size"}:
                members[name] = b"%d" % len(kept)

    def _note_task(self, members: dict[str, bytes], fields: Fields) -> None:
        """Note the state of the task that an object shows."""
        status = members.get("status", b"")
        task = next((members[name] for name in fields.task_ids if name in members), b"")
        if status[:1] != b"{" or task[:1] != b'"':
            return
        within = self._members(status)
        self._count(len(within))
        state = self._text_of(within.get("state"))
        self._rewriter.note_task(self._decoded(task), has_ended=state in ENDED)

    def _context_of(self, task: bytes) -> str:
        members = self._members(task)
        self._count(len(members))
        return self._text_of(members.get("contextId", members.get("context_id")))

    def _text_of(self, raw: msgspec.Raw | None) -> str:
        data = b"" if raw is None else bytes(raw).strip(_SPACE)
        return self._decoded(data) if data.startswith(b'"') else ""

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise self._malformed(f"more than {limits.a2a_json_values_max} values to read")

    def _members(self, data: bytes) -> dict[str, msgspec.Raw]:
        try:
            return raw_json.members(data)
        except UNREADABLE:
            raise self._malformed("not a JSON object") from None

    def _items(self, data: bytes) -> list[msgspec.Raw]:
        try:
            return raw_json.items(data)
        except UNREADABLE:
            raise self._malformed("not a JSON array") from None

    def _decoded(self, data: bytes) -> str:
        try:
            return _text.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._malformed("a text is not valid JSON") from None

    def _malformed(self, why: str) -> A2AError:
        return A2AError(self._rewriter.malformed, why)
