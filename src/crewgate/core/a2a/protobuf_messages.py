"""Rewrites messages in protobuf: the fields of a `Fields`, and no other byte of the message.

The gateway needs no protobuf library for this: the fields that it judges are few, and their numbers
never change. Where a request has a field twice that may stand once, readers merge or replace, so
the request is refused.
"""

from itertools import islice

from crewgate import limits
from crewgate.core import protobuf_wire as wire
from crewgate.core.a2a.errors import A2AError
from crewgate.core.a2a.message_fields import ENDED_NUMBERS, Field, Fields, TextKind
from crewgate.core.a2a.text_rewriting import TextRewriter

_CONTEXT_OF_TASK = _CONTEXT_OF_MESSAGE = 2
_IN_CONTEXT = frozenset({_CONTEXT_OF_MESSAGE, 3})  # and task_id
_STATUS, _STATE = 3, 1  # of a task or update, and of its status
_TASKS, _TOTAL_SIZE = 1, 4  # of ListTasksResponse
_REPEATABLE = "referenceTaskIds"  # of all judged fields of requests, the only one


def rewrite(data: bytes, fields: Fields, rewriter: TextRewriter) -> bytes:
    """Return a message with other texts.

    Raises:
        A2AError: The message cannot be read, or must not pass.
    """
    return _Message(rewriter).message(data, fields)


class _Message:
    """One message; the number of fields that it reads is bounded."""

    def __init__(self, rewriter: TextRewriter) -> None:
        self._rewriter = rewriter
        self._left = limits.a2a_fields_max

    def message(self, data: bytes, fields: Fields) -> bytes:
        if fields.card is not None:
            return self._rewriter.protobuf_card(data, fields.card)
        found = self._fields(data)
        if self._rewriter.is_strict:
            self._check_repetition(found, fields)
        elif fields.lists_tasks:
            found = self._own_tasks(found)
        elif fields.task_ids:
            self._note_task(found, fields)
        parts = []
        for each in found:
            field = fields.by_number.get(each.number)
            parts.append(each.raw if field is None else self._field(each, field))
        if fields.is_sent:
            parts += self._new_context(found)
        return b"".join(parts)

    def _new_context(self, found: list[wire.WireField]) -> list[bytes]:
        """Return the context for a message that names neither a context nor a task."""
        if any(each.value for each in found if each.number in _IN_CONTEXT):
            return []
        context = self._rewriter.begin_context()
        return [wire.delimited(_CONTEXT_OF_MESSAGE, context.encode())] if context else []

    def _field(self, each: wire.WireField, field: Field) -> bytes:
        if each.wire_type != wire.BYTES:
            raise self._malformed(f"field {each.number} has wire type {each.wire_type}")
        if not isinstance(field.content, TextKind):
            return wire.delimited(each.number, self.message(each.value, field.content))
        try:
            text = each.value.decode()
        except UnicodeDecodeError:
            raise self._malformed(f"field {each.number} is not UTF-8") from None
        if not text:
            return each.raw
        before = self._rewriter.ids_converted
        found = self._rewriter.text(field.content, text)
        self._count((self._rewriter.ids_converted - before) * limits.a2a_values_per_id)
        return wire.delimited(each.number, found.encode())

    def _check_repetition(self, found: list[wire.WireField], fields: Fields) -> None:
        repeatable = fields.by_name.get(_REPEATABLE)
        judged = [
            each.number
            for each in found
            if fields.by_number.get(each.number) not in {None, repeatable}
        ]
        if len(set(judged)) != len(judged):
            raise self._malformed("a field stands twice")

    def _own_tasks(self, found: list[wire.WireField]) -> list[wire.WireField]:
        """Take the tasks of others out of a list, and count the rest."""
        tasks = [each for each in found if each.number == _TASKS]
        kept = [each for each in tasks if self._rewriter.keeps_task(self._context_of(each.value))]
        rest = [each for each in found if each.number != _TASKS]
        if len(kept) != len(tasks) or self._rewriter.hides_total:
            rest = [each for each in rest if each.number != _TOTAL_SIZE]
            size = wire.integer(_TOTAL_SIZE, len(kept))
            rest.append(wire.WireField(_TOTAL_SIZE, wire.VARINT, wire.varint(len(kept)), size))
        return kept + rest

    def _note_task(self, found: list[wire.WireField], fields: Fields) -> None:
        """Note the state of the task that a message shows."""
        number = fields.by_name[fields.task_ids[0]].number
        tasks = [each.value for each in found if each.number == number]
        statuses = [each.value for each in found if each.number == _STATUS]
        if not tasks or not statuses:
            return
        states = [each.value for each in self._fields(statuses[-1]) if each.number == _STATE]
        try:
            task, state = tasks[-1].decode(), wire.number_of(states[-1]) if states else 0
        except ValueError:  # UnicodeDecodeError as well
            return
        self._rewriter.note_task(task, has_ended=state in ENDED_NUMBERS)

    def _context_of(self, task: bytes) -> str:
        texts = [each.value for each in self._fields(task) if each.number == _CONTEXT_OF_TASK]
        try:
            return texts[-1].decode() if texts else ""
        except UnicodeDecodeError:
            return ""

    def _fields(self, data: bytes) -> list[wire.WireField]:
        try:
            found = [*islice(wire.fields(data), self._left + 1)]
        except ValueError as error:
            raise self._malformed(str(error)) from None
        self._count(len(found))
        return found

    def _count(self, fields: int) -> None:
        self._left -= fields
        if self._left < 0:
            raise self._malformed(f"more than {limits.a2a_fields_max} fields to read")

    def _malformed(self, why: str) -> A2AError:
        return A2AError(self._rewriter.malformed, why)
