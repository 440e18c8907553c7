"""`[ledger]`: a file or a server; what neither is, is told with what would be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate.config import Ledger, load
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]


def test_a_silent_file_keeps_its_ledger_with_its_state(write: Write, whole: str) -> None:
    """The embedded default needs no word."""
    config = load(write(whole))
    assert config.ledger == Ledger("sqlite", config.state / "ledger.db")


@pytest.mark.parametrize(
    ("lines", "ledger"),
    [
        ('url = "sqlite:ledger.db"', lambda at: Ledger("sqlite", at / "ledger.db")),
        ('url = "sqlite:/srv/l.db"', lambda _: Ledger("sqlite", Path("/srv/l.db"))),
        (
            'url = "postgresql://crewgate@db.example/budgets"\npassword_file = "secrets/db"',
            lambda at: Ledger(
                "postgresql",
                url="postgresql://crewgate@db.example/budgets",
                password_file=at / "secrets" / "db",
            ),
        ),
        (
            'url = "postgresql:///b"\ndurability = "trusted"',
            lambda _: Ledger("postgresql", url="postgresql:///b", durability="trusted"),
        ),
        ('url = "postgres:///b"', lambda _: Ledger("postgresql", url="postgres:///b")),
    ],
)
def test_an_engine_is_named_by_its_url(
    write: Write, whole: str, tmp_path: Path, lines: str, ledger: Callable[[Path], Ledger]
) -> None:
    """A file's path is the configuration's neighbour, as every other path."""
    assert load(write(f"{whole}\n[ledger]\n{lines}\n")).ledger == ledger(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", 'ledger.url: missing; expected "sqlite:FILE" or "postgresql://USER@HOST/DATABASE"'),
        ('url = "sqlite:"', 'ledger.url = "sqlite:": expected "sqlite:FILE"'),
        ('url = "mysql://x/y"', 'ledger.url = "mysql://x/y": expected'),
        ("url = 7", "ledger.url = 7: expected"),
        (
            'url = "sqlite:l.db"\npassword_file = "p"',
            "ledger: password_file: a file has no password; take it out",
        ),
        (
            'url = "sqlite:l.db"\ndurability = "trusted"',
            "ledger: durability: a file is synced always; take it out",
        ),
        (
            'url = "postgres:///b"\ndurability = "none"',
            'ledger.durability = "none": expected "single" or "synchronous" or "trusted"',
        ),
        (
            'url = "postgres:///b"\nper_machine = true',
            "ledger: per_machine: budgets on a server are every machine's; take it out",
        ),
        ('url = "sqlite:l.db"\nfile = "x"', "ledger.file: unknown key"),
        ('url = "postgresql://me:secret@x/y"', "without a password (`password_file`)"),
        ('url = "postgresql://x/y?password=secret"', "without a password (`password_file`)"),
        ('url = "postgresql://me:secr/et@x/y"', "without a password (`password_file`)"),
    ],
)
def test_mistakes_are_told_with_their_mend(write: Write, whole: str, lines: str, said: str) -> None:
    """And no password of a URL is ever shown."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(f"{whole}\n[ledger]\n{lines}\n"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value).replace("secrets/", "")
