"""Keys from the bytes of a terminal, in whatever pieces they come."""

from hypothesis import given
from hypothesis import strategies as st

from crewgate.cli.top.keys import KeyReader


def keys(*pieces: bytes) -> list[str]:
    reader = KeyReader()
    return [key for piece in pieces for key in reader.feed(piece)]


def test_characters_and_names() -> None:
    """Of common terminals: cursor keys have two forms, Home and End three."""
    assert keys(b"qe\r\n\t\x7f\x08") == [
        "q", "e", "enter", "enter", "tab", "backspace", "backspace",
    ]  # fmt: skip
    assert keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~") == ["up", "down", "pageup", "pagedown"]
    assert keys(b"\x1b[H\x1bOF\x1b[1~\x1b[4~\x1b[7~\x1b[Z") == [
        "home", "end", "home", "end", "home", "backtab",
    ]  # fmt: skip
    assert keys("é語".encode()) == ["é", "語"]


def test_pieces_are_put_together() -> None:
    """Over ssh, a sequence or a letter may come in two packets."""
    assert keys(b"\x1b", b"[", b"A") == ["up"]
    assert keys("é".encode()[:1], "é".encode()[1:]) == ["é"]


def test_escape_alone_is_a_key() -> None:
    """If nothing follows soon, or what follows is no sequence."""
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.waits
    assert reader.expire() == ["escape"]
    assert not reader.waits
    assert keys(b"\x1bq") == ["escape", "q"]
    assert keys(b"\x1b\x1b[A") == ["escape", "up"]


def test_unknown_sequences_are_no_keys() -> None:
    """Such as a function key, or a report of the terminal."""
    assert keys(b"\x1b[15~\x1b[?1;2c\x1b[M q") == [" ", "q"]


def test_what_is_pasted_orders_nothing() -> None:
    """The terminal marks it (bracketed paste)."""
    assert keys(b"\x1b[200~eyes\r\x1b[Aq\x1b[201~j") == ["j"]
    assert keys(b"\x1b[200~e", b"yes\r", b"\x1b[201~q") == ["q"]


def test_what_has_begun_can_be_forgotten() -> None:
    """After a question opened."""
    reader = KeyReader()
    reader.feed(b"\x1b[")
    reader.forget()
    assert reader.feed(b"A") == ["A"]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_pieces_do_not_change_the_keys(data: bytes, cuts: list[int]) -> None:
    """And no bytes harm the reader or stay in it for ever."""
    ends = sorted({*cuts, len(data)})
    pieces = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert keys(*pieces) == keys(data)
    reader = KeyReader()
    reader.feed(data + b"\x1b[" + b"1" * 64)
    assert len(reader._bytes) < 64
