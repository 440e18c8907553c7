"""Which fields go on, against the slow model, and what no field may do to the walk."""

from collections.abc import Callable
from typing import Any

import ngh2
import pytest
import slow_fields
from hypothesis import example, given
from hypothesis import strategies as st
from leaks import assert_no_leak

from crewgate._native.fields import FieldFilter, ResponseFilter, named, values, written
from crewgate.errors import InvalidRequestError

Field = tuple[bytes, bytes]

WORDS = [
    b"accept",
    b"authorization",
    b"close",
    b"connection",
    b"cookie",
    b"keep-alive",
    b"via",
    b"x-api-key",
    b"x-crewgate-",
    b"x-crewgate",
    b"x.crewgate+crew",
    b"x_crewgate_crew",
    b"x_session",
    b"x-" + b"a" * 61,
    b"x-" + b"a" * 62,
    b"",
]
names = st.one_of(
    st.sampled_from(WORDS), st.binary(max_size=14), st.text("x-_.CREWGATEcrewgate", max_size=14)
).map(lambda name: name if isinstance(name, bytes) else name.encode())
separators = st.sampled_from([b",", b", ", b" ,\t", b",,"])


@st.composite
def fields(draw: st.DrawFn) -> list[Field]:
    """A message's fields; Connection names some, in any case and with blanks of any kind."""
    found = draw(st.lists(st.tuples(names, st.binary(max_size=8)), max_size=8))
    for _ in range(draw(st.integers(0, 2))):
        options = draw(st.lists(names, max_size=3))
        value = draw(separators).join(draw(st.sampled_from([o, o.upper()])) for o in options)
        found.insert(draw(st.integers(0, len(found))), (b"connection", value))
    return found


def outcome(of: Callable[[], Any]) -> Any:
    """What it returns, or the refusal that it raises."""
    try:
        return of()
    except InvalidRequestError as refusal:
        return refusal.status, str(refusal)


sets = st.frozensets(names, max_size=5)


@given(fields(), sets, sets, sets, st.binary(max_size=2))
@example([(b"connection", b"keep-alive"), (b"keep-alive", b"1")], {b"keep-alive"}, (), (), b"")
@example([(b"x.upstream~key", b"1")], frozenset(), frozenset({b"x-upstream-key"}), frozenset(), b"")
@example([(b"x-a", b"b"), (b"x-a", b"abc"), (b"x-a", b"ab")], (), (), (), b"ab")
def test_requests(
    found: list[Field],
    dropped: frozenset[bytes],
    refused: frozenset[bytes],
    allowed: frozenset[bytes],
    token: bytes,
) -> None:
    """Native and slow code let the same fields through, or refuse with the same words."""
    native = FieldFilter(dropped, refused, allowed)
    expected = outcome(lambda: slow_fields.passed(found, dropped, refused, allowed, token))
    assert outcome(lambda: native.kept(found, token)) == expected
    assert outcome(lambda: native.kept(tuple(found), token)) == expected
    if isinstance(expected, list):
        assert native.written(found, token) == slow_fields.written(expected)
        assert written(expected) == slow_fields.written(expected)


@given(fields(), sets)
def test_answers(found: list[Field], dropped: frozenset[bytes]) -> None:
    """The same on the way back."""
    native = ResponseFilter(dropped)
    expected = slow_fields.answered(found, dropped)
    assert native.kept(found) == expected
    assert native.written(found) == slow_fields.written(expected)


def test_fields_are_handed_on_as_they_are() -> None:
    """A field stays the object that it was: what HTTP/2 must never index stays marked."""
    secret = ngh2.NeverIndexedHeader(b"x-secret", b"1")
    assert FieldFilter((), (), ()).kept((secret,))[0] is secret
    assert ResponseFilter(()).kept((secret,))[0] is secret


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        [None],
        [b"ab"],
        [(b"a",)],
        [(b"a", b"b", b"c")],
        [["a", "b"]],
        [[b"a", b"b"]],
        [(b"a", "b")],
        [("a", b"b")],
        [(b"a", None)],
        [(b"a", bytearray(b"b"))],
        [(b"connection", memoryview(b"b"))],
    ],
    ids=lambda bad: repr(bad).partition(" at 0x")[0],  # the same in every process
)
def test_other_types(bad: Any) -> None:
    """Whatever is not pairs of bytes is a TypeError, and nothing is read of it."""
    for walk in (
        written,
        FieldFilter((), (), ()).kept,
        FieldFilter((), (), ()).written,
        ResponseFilter(()).kept,
        ResponseFilter(()).written,
    ):
        with pytest.raises(TypeError):
            walk(bad)


def test_bytes_of_another_class() -> None:
    """A subclass could run its own code while the fields are walked through: it is no field."""

    class Name(bytes):
        __slots__ = ()

    with pytest.raises(TypeError):
        FieldFilter((), (), ()).kept([(Name(b"a"), b"b")])


@pytest.mark.parametrize("names", [["a"], [None], [bytearray(b"a")], None, 3], ids=repr)
def test_names_are_bytes(names: Any) -> None:
    """A rule with a name that could never match is an error, not a rule."""
    for make in (
        lambda: FieldFilter(names, (), ()),
        lambda: FieldFilter((), names, ()),
        lambda: FieldFilter((), (), names),
        lambda: ResponseFilter(names),
    ):
        with pytest.raises(TypeError):
            make()


def test_nothing_is_kept_or_lost() -> None:
    """After thousands of walks, refused ones too, no reference and no memory is left over."""
    native = FieldFilter({b"cookie"}, {b"x-key"}, {b"x_a"})
    answers = ResponseFilter({b"connection"})
    name, value = b"x-name", b"some value"
    good = [(name, value), (b"cookie", value), (b"connection", b"a, b"), (b"x_a", value)]
    bad = [*good, (b"x-crewgate-crew", value)]

    def walk() -> None:
        for _ in range(2000):
            native.kept(good)
            native.written(good)
            answers.written(good)
            outcome(lambda: native.written(bad))

    assert_no_leak(walk, name, value, good[0])


@pytest.mark.parametrize(
    "options", [b"keep-alive", b" Keep-Alive ,TE", b"close, keep-alive", b"x-1"]
)
def test_more_fields_than_usual(options: bytes) -> None:
    """A message of any size is filtered by the same rules, whatever its Connection names."""
    sent = [(b"x-%d" % number, b"%d" % number) for number in range(300)]
    sent += [(b"connection", options), (b"te", b""), (b"cookie", b"1")]
    dropped = {b"connection", b"cookie", b"keep-alive", b"te"}
    expected = slow_fields.passed(sent, dropped, (), (), b"29")
    assert expected == slow_fields.answered(
        [field for field in sent if b"29" not in field[1]], dropped
    )
    assert FieldFilter(dropped, (), ()).kept(sent, b"29") == expected
    assert FieldFilter(dropped, (), ()).written(sent, b"29") == slow_fields.written(expected)
    assert written(sent) == slow_fields.written(sent)


@given(fields(), names)
def test_the_values_of_a_name(sent: list[Field], name: bytes) -> None:
    """All of them in order; the name is compared byte for byte."""
    assert values(sent, name) == tuple(value for each, value in sent if each == name)


@given(fields(), st.frozensets(names, max_size=3), st.integers(0, 40))
def test_the_fields_of_some_names(
    sent: list[Field], wanted: frozenset[bytes], value_bytes_max: int
) -> None:
    """All of them in order, or None if the value of one is too long."""
    found = tuple(field for field in sent if field[0] in wanted)
    is_long = any(len(value) > value_bytes_max for _, value in found)
    assert named(sent, wanted, value_bytes_max) == (None if is_long else found)
