"""The inputs of the fuzzers, given to the real build: what each target of fuzz/ does, in Python.

Each function takes one input. It expects the errors that callers are promised; any other escapes.
"""

import contextlib
import mmap
import struct
from pathlib import Path

import ngh2
import proofs
import slow_fields
from crew_world import World
from gate_world import Gatehouse
from http2_pair import GET

from crewgate._datapath.plain_answer import PlainAnswer
from crewgate._native.bearer import TokenFinder
from crewgate._native.call_digester import CallDigester
from crewgate._native.fields import FieldFilter, ResponseFilter, written
from crewgate._native.json_count import outline
from crewgate._native.json_rpc import MalformedMessageError, read_message
from crewgate._native.permit import Permit
from crewgate._native.proof import KeyBinding, Origin, Proof
from crewgate._native.records import TableCapacities
from crewgate._native.request_head import RequestHeadParser
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable
from crewgate._native.token import MalformedTokenError, claims, split
from crewgate.core import bearer
from crewgate.core.reasons import Reason
from crewgate.errors import InvalidRequestError, TableError, TableFullError
from crewgate.server.http2_settings import ServerEngine, server_engine

GEOMETRY = TableCapacities(64, 64, 128, 2)
HEADER_BYTES = 192  # those that are never written again
OPERATIONS_MAX = 200
FIELDS_MAX = 16
PARENTS_MAX = 9
ARENA_BLOCKS, ARENA_FIELDS_MAX, ARENA_STEPS_MAX = 4, 16, 100


class Input:
    """Takes an input apart as `bytes.h` does; where the input has ended, it gives zeros."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> int:
        taken, self.data = self.data[:size], self.data[size:]
        return int.from_bytes(taken, "little")

    def text(self) -> bytes:
        """A text after its length, which is one byte."""
        size = self.take(1)
        taken, self.data = self.data[:size], self.data[size:]
        return taken


def answer(data: bytes) -> None:
    """The rest after a cut is read as the whole is."""
    given = Input(data)
    is_for_head, at = bool(given.take(1) & 1), given.take(2)
    whole, cut = PlainAnswer(), PlainAnswer()
    for reader in (whole, cut):
        reader.reset(head_only=is_for_head)
    state = whole.feed(given.data)
    at = at % (len(given.data) + 1)
    if cut.feed(given.data[:at]) is False:
        assert cut.feed(given.data[at:]) is state
        assert not state or (cut.headers, cut.body) == (whole.headers, whole.body)


def token(data: bytes) -> None:
    with contextlib.suppress(MalformedTokenError):
        kid, signed, _, signature = split(data)
        assert data.startswith(signed)
        assert kid
        assert len(signature) == 64


def json(data: bytes) -> None:
    assert outline(data) <= len(data)
    with contextlib.suppress(MalformedTokenError):
        claims(data)


def json_document(data: bytes) -> None:
    with contextlib.suppress(MalformedMessageError):
        message = read_message(b'{"jsonrpc":"2.0","id":1,"result":%b}' % data)
        assert message.member("result") == data.strip(b" \t\r\n")


def call_digest(data: bytes) -> None:
    """A body has one digest, whatever its members are called and whatever is in it."""
    source = Input(data)
    name, body = source.text().decode("latin-1"), source.data
    table = OwnedTable.private(GEOMETRY)
    for digester in (CallDigester(), CallDigester([name])):
        found = digester.call(table, b"POST", b"/", body, body)
        assert found > 1
        assert found == digester.call(table, b"POST", b"/", body, body)
        assert bool(digester.answer(table, body, is_json=True)) == bool(body)
    table.close()


def base64url(data: bytes) -> None:
    token(data + b"." + data + b"." + b"A" * 86)


def bearers(data: bytes) -> None:
    fields = [(b"authorization", data), (b"x-api-key", data[:8])]
    carriers = frozenset({b"authorization"})
    for query in (data, b""):
        found = TokenFinder(carriers).find(fields, query)
        assert found == bearer.find_token(fields, query, carriers)


def proof(data: bytes) -> None:
    """An input is no proof; and a URL of a good proof names the request or another one."""
    client = proofs.Ed25519Client()
    binding = KeyBinding(proofs.thumbprint(client), proofs.TOKEN)
    origin = Origin("https", b"a.b")
    assert Proof(data, b"POST", origin, b"/").check(binding, proofs.NOW) is Reason.INVALID_PROOF
    first = data[0] % len(data) if data else 0
    url, path = data[1 : 1 + first].decode("latin-1"), data[1 + first :]
    good = Proof(proofs.proof(client, htu=url), b"POST", origin, path)
    if good.check(binding, proofs.NOW) is None:
        assert url[:11].lower() == "https://a.b"


def request_line(data: bytes) -> None:
    heads = RequestHeadParser(lambda *made: made, [b"CONNECT"])
    fields = [(b"host", b"gw.example"), (b"content-length", data)]
    for method, target, authority in (
        (data, b"/", b"gw.example"),
        (b"POST", data, b"gw.example"),
        (b"POST", b"/", data),
    ):
        with contextlib.suppress(InvalidRequestError):
            heads.build(method, target, authority, fields[:1], version="1", stream=1, streamed=True)
    with contextlib.suppress(InvalidRequestError):
        made = heads.build(b"POST", b"/", None, fields, version="1", stream=1, streamed=False)
        assert made[-1] == int(data)


def field_name(data: bytes) -> None:
    size = data[0] if data else 0
    name, other = data[1 : 1 + size], data[1 + size :]
    fields = [(name, b"x"), (other, b"y")]
    assert ResponseFilter([name]).kept(fields) == [
        field for field in fields if field[0] != name and not field[0].startswith(bearer.OURS)
    ]
    with contextlib.suppress(InvalidRequestError):
        FieldFilter([name], [other], [name]).kept(fields)
    assert written(fields).count(b"\r\n") >= 2


def field_rules(data: bytes) -> None:
    given = Input(data)
    is_request = given.take(1) & 1
    names = {b"connection", b"cookie", b"keep-alive", b"te"}
    token, fields = given.text(), []
    while given.data and len(fields) < FIELDS_MAX:
        fields.append((given.text(), given.text()))
    if not is_request:
        assert ResponseFilter(names).kept(fields) == slow_fields.answered(fields, names)
        return
    with contextlib.suppress(InvalidRequestError):
        expected = slow_fields.passed(fields, names, (), (), token)
        assert FieldFilter(names, (), ()).kept(fields, token) == expected


def field_arena(data: bytes) -> None:
    """Each block is that of a request; the engine returns the fields that the client has sent."""
    given = Input(data[3:])  # the engine has bounds of its own for its store
    client, engine = ngh2.Connection(ngh2.Role.CLIENT), server_engine()
    client.initiate_connection()
    heads: dict[int, list[tuple[bytes, bytes]]] = {}
    for _ in range(ARENA_STEPS_MAX):
        if not given.data:
            break
        step = given.take(1)
        block = step % ARENA_BLOCKS
        fields = heads.get(block)
        if fields is None:
            heads[block] = []
        elif step // ARENA_BLOCKS % 8 == 0:
            _ask(client, engine, heads.pop(block))
        else:
            sizes = given.take(1), given.take(2) % 1024
            field = b"x" + b"y" * sizes[0], b"z" * sizes[1]
            never_indexed = given.take(1)
            if len(fields) < ARENA_FIELDS_MAX:
                fields.append(ngh2.NeverIndexedHeader(*field) if never_indexed else field)
    for fields in heads.values():
        _ask(client, engine, fields)


def _ask(client: ngh2.Connection, engine: ServerEngine, fields: list[tuple[bytes, bytes]]) -> None:
    """Send a request with these fields."""
    stream = client.send_request([*GET, *fields], end_stream=True)
    engine.receive_data(client.data_to_send())
    (asked,) = [each for each in engine.events() if type(each) is ngh2.RequestReceived]
    assert asked.stream_id == stream
    assert list(asked.headers[len(GET) :]) == fields
    assert [type(each) for each in asked.headers[len(GET) :]] == [*map(type, fields)]
    client.reset_stream(stream)


def credit(data: bytes) -> None:
    house = Gatehouse(World.make())
    house.permit(house.world.token).release()
    number, given = house.record().number, Input(data)
    held: list[Permit] = []
    for _ in range(OPERATIONS_MAX):
        if not given.data:
            break
        operation, which, amount = given.take(1) % 11, given.take(1), given.take(1)
        amount = given.take((amount & 7) + 1) if amount >= 0xF0 else amount
        with contextlib.suppress(ValueError, OverflowError):
            if operation < 4:
                _lease(house.table, number, operation, amount)
            elif operation in {4, 8}:
                verdict = house.gate.decide(house.world.token, 0, price=amount)
                held += [verdict] if isinstance(verdict, Permit) else []
            elif held and operation == 5:
                held[which % len(held)].grow(amount)
            elif held:
                held.pop(which % len(held)).settle(amount)
        record = house.record()
        assert record.reserved == sum(permit.price_micro for permit in held)
        assert record.burned == 0
        assert record.granted == (
            record.given_back + record.settled + record.available + record.reserved
        )
    for permit in held:
        permit.release()


def _lease(owned: OwnedTable, number: int, operation: int, amount: int) -> None:
    if operation == 0:
        owned.begin_draw(number, 1)
        owned.grant(number, amount)
    elif operation == 1:
        owned.overdraw(number, amount)
    elif operation == 2:
        owned.take_back(number, amount)
    else:
        owned.begin_draw(number, amount)
        owned.refuse(number, amount % 3, amount, 0, amount)


def table(data: bytes, folder: Path) -> None:
    """In a file, into which another process writes as it likes."""
    given, path = Input(data), str(folder / "table")
    owned = OwnedTable.create(path, GEOMETRY)
    try:
        for _ in range(OPERATIONS_MAX):
            if not given.data:
                break
            if given.data[0] % 8 == 1:
                owned.close()
                owned = OwnedTable.open(path)
            with contextlib.suppress(ValueError, TableFullError):
                _table_step(owned, given, folder)
    finally:
        owned.close()


def _table_step(owned: OwnedTable, given: Input, folder: Path) -> None:
    operation = given.take(1) % 8
    if operation == 0:
        _write_word(owned, given)
    elif operation in {1, 2}:
        key = struct.pack("<Q", given.take(1) if operation == 2 else 0) * 2
        assert owned.find(key) < GEOMETRY.branches
        owned.is_revoked(key, 1)
        owned.scan(0, GEOMETRY.branches)
        owned.counts()
        owned.loose()
    elif operation == 3:
        above = tuple(given.take(1) % 64 for _ in range(given.take(1) % (PARENTS_MAX + 1)))
        key, ends = struct.pack("<Q", given.take(1)) * 2, 2**40 if given.take(1) & 1 else 0
        owned.open_branch(key, above, bytes(16), 2**52, 1, ends, 0, 1)
    elif operation == 4:
        owned.revoke(struct.pack("<Q", given.take(1)) * 2, bytes(16), 5, given.take(1), 0, 0)
    elif operation == 5:
        owned.reclaim(2**63, 2**63)
        owned.burn_overdue(2**63)
        owned.drop_attachment(1)
    elif operation == 6:
        number, amount = given.take(1) % 64, given.take(4)
        owned.begin_draw(number, amount)
        owned.grant(number, amount)
        owned.overdraw(number, amount)
        owned.take_back(number, amount)
    else:
        _attach_to_header(owned, given, folder)


def _write_word(owned: OwnedTable, given: Input) -> None:
    with mmap.mmap(owned.fd, owned.size) as memory:
        at = (HEADER_BYTES // 8 + given.take(2) % (owned.size // 8 - HEADER_BYTES // 8)) * 8
        kind, word = given.take(1), int.from_bytes(memory[at : at + 8], "little")
        word = kind if kind < 0x40 else word ^ 1 << (kind & 63) if kind < 0x80 else given.take(8)
        memory[at : at + 8] = word.to_bytes(8, "little")


def _attach_to_header(owned: OwnedTable, given: Input, folder: Path) -> None:
    with mmap.mmap(owned.fd, owned.size) as memory:
        copied = bytearray(memory)
    copied[given.take(1) % HEADER_BYTES] ^= given.take(1)
    given.take(1)  # whether its checksum is made good again: only the target in C can
    other = folder / "other"
    other.write_bytes(copied)
    with other.open("r+b") as file, contextlib.suppress(TableError):
        Table.attach(file.fileno()).close()
