"""The native table against the slow model, under any order of what its owner does."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from table_model import NS, TableModel

from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.errors import TableFullError

GEOMETRY = TableCapacities(64, 64, 64, 2)
KEYS = [bytes([n]) * 16 for n in range(12)]
NUMBERS = st.integers(0, 8)
AMOUNTS = st.integers(0, 50)
REFUSED = ValueError, IndexError, TableFullError


class Tables(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.native = OwnedTable.private(GEOMETRY)
        self.model = TableModel(GEOMETRY, self.native.life)
        self.wall = 1_800_000_000
        self.boot_ns = 10**12

    def both(self, act: Callable[[OwnedTable | TableModel], object]) -> object:
        """The same answer, or the same refusal, from both."""
        answers = []
        for table in (self.native, self.model):
            try:
                answers.append(act(table))
            except REFUSED as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(key=st.sampled_from(KEYS), parent=st.integers(-1, 8), quota=AMOUNTS,
          life=st.integers(-5, 100))  # fmt: skip
    def open_branch(self, key: bytes, parent: int, quota: int, life: int) -> None:
        """Under a record that is there, with its ancestry; or as a crew."""
        above: tuple[int, ...] = ()
        if parent in self.model.records:
            above = (*self.model.records[parent].parents, parent)
        expires = self.wall + life
        self.both(
            lambda table: table.open_branch(
                key, above, key[::-1], quota, 7, expires, self.wall, self.boot_ns
            )
        )

    @rule(number=NUMBERS, quota=AMOUNTS, iat=AMOUNTS, life=st.integers(-5, 100))
    def amend(self, number: int, quota: int, iat: int, life: int) -> None:
        expires = self.wall + life
        self.both(lambda table: table.amend(number, quota, iat, expires, self.wall, self.boot_ns))

    @rule(number=NUMBERS, need=AMOUNTS)
    def begin_draw(self, number: int, need: int) -> None:
        self.both(lambda table: table.begin_draw(number, need))

    @rule(
        number=NUMBERS,
        amount=AMOUNTS | st.just(limits.lease_micro_max),
    )
    def grant(self, number: int, amount: int) -> None:
        self.both(lambda table: table.grant(number, amount, amount % 7))

    @rule(number=NUMBERS, amount=AMOUNTS | st.just(limits.lease_micro_max))
    def overdraw(self, number: int, amount: int) -> None:
        self.both(lambda table: table.overdraw(number, amount))

    @rule(number=NUMBERS, amount=AMOUNTS)
    def draw(self, number: int, amount: int) -> None:
        """Begun and granted at once, so that leases have something to give back."""
        if self.both(lambda table: table.begin_draw(number, amount)) not in REFUSED:
            self.both(lambda table: table.grant(number, amount))

    @rule(
        number=NUMBERS,
        level=st.integers(0, 9),
        need=AMOUNTS,
        used=AMOUNTS,
        quota=AMOUNTS,
        window=st.integers(0, 10**6),
    )
    def refuse(
        self, number: int, level: int, need: int, used: int, quota: int, window: int
    ) -> None:
        self.both(lambda table: table.refuse(number, level, need, used, quota, window))

    @rule(number=NUMBERS, amount=AMOUNTS)
    def take_back(self, number: int, amount: int) -> None:
        self.both(lambda table: table.take_back(number, amount))

    @rule(number=NUMBERS)
    def close_branch(self, number: int) -> None:
        self.both(lambda table: table.close_branch(number))

    @rule(wall=st.integers(0, 60), boot=st.integers(0, 60))
    def time(self, wall: int, boot: int) -> None:
        """The clocks need not agree: the wall clock is set now and then."""
        self.wall += wall
        self.boot_ns += boot * NS

    @rule(records=st.integers(1, 100))
    def reclaim(self, records: int) -> None:
        self.both(lambda table: table.reclaim(self.wall, self.boot_ns, records))

    @precondition(lambda self: self.model.free)
    @rule(spare=st.integers(0, 2))
    def fill(self, spare: int) -> None:
        """Nearly all records are taken by branches of one crew that expire soon."""
        for n in range(len(self.model.free) - spare):
            self.open_filler(b"fill" * 3 + n.to_bytes(4))

    def open_filler(self, key: bytes) -> None:
        self.both(
            lambda table: table.open_branch(key, (), key, 1, 1, self.wall, self.wall, self.boot_ns)
        )

    @invariant()
    def they_hold_the_same(self) -> None:
        assert self.native.scan(0, 64) == self.model.scan(0, 64)
        assert self.native.credit_generation == self.model.credit_generation
        for key in KEYS:
            assert self.native.find(key) == self.model.find(key)

    @rule(number=st.integers(0, 70))
    def one_record(self, number: int) -> None:
        self.both(lambda table: table.branch(number))

    def teardown(self) -> None:
        self.native.close()


Tables.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTables = Tables.TestCase
