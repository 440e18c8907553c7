"""`[ledger]`: a file or a server; what neither is, is told with what would be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.config import LedgerConfig, load
from crewgate.errors import ConfigurationError

Write = Callable[[str], Path]


def test_a_silent_file_keeps_its_ledger_with_its_state(write: Write, whole: str) -> None:
    """The embedded default needs no word."""
    config = load(write(whole))
    assert config.ledger == LedgerConfig("sqlite", config.state / "ledger.db")


@pytest.mark.parametrize(
    ("lines", "ledger"),
    [
        ('url = "sqlite:ledger.db"', lambda at: LedgerConfig("sqlite", at / "ledger.db")),
        ('url = "sqlite:/srv/l.db"', lambda _: LedgerConfig("sqlite", Path("/srv/l.db"))),
        (
            'url = "postgresql://crewgate@db.example/budgets"\npassword_file = "secrets/db"',
            lambda at: LedgerConfig(
                "postgresql",
                url="postgresql://crewgate@db.example/budgets",
                password_file=at / "secrets" / "db",
            ),
        ),
        (
            'url = "postgresql:///b"\ndurability = "trusted"',
            lambda _: LedgerConfig("postgresql", url="postgresql:///b", durability="trusted"),
        ),
        ('url = "postgres:///b"', lambda _: LedgerConfig("postgresql", url="postgres:///b")),
    ],
)
def test_an_engine_is_named_by_its_url(
    write: Write, whole: str, tmp_path: Path, lines: str, ledger: Callable[[Path], LedgerConfig]
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
            "ledger: password_file: a ledger in a file has no password; remove the key",
        ),
        (
            'url = "sqlite:l.db"\ndurability = "trusted"',
            "ledger: durability: a ledger in a file is always synced; remove the key",
        ),
        (
            'url = "postgres:///b"\ndurability = "none"',
            'ledger.durability = "none": expected "single" or "synchronous" or "trusted"',
        ),
        (
            'url = "postgres:///b"\nper_machine = true',
            "ledger: per_machine: all machines share the budgets on a server; remove the key",
        ),
        (
            'url = "postgres:///b"\non_unavailable = "bounded"',
            (
                'ledger.overdraft_credits: missing; on_unavailable = "bounded" needs the '
                "credits that this machine"
            ),
        ),
        (
            'url = "postgres:///b"\non_unavailable = "open"\noverdraft_credits = "50"',
            (
                'ledger.overdraft_credits: only with on_unavailable = "bounded"; '
                'on_unavailable is "open"'
            ),
        ),
        (
            'url = "postgres:///b"\noverdraft_credits = "50"',
            (
                'ledger.overdraft_credits: only with on_unavailable = "bounded"; '
                'on_unavailable is "closed"'
            ),
        ),
        (
            'url = "postgres:///b"\non_unavailable = "bounded"\noverdraft_credits = "0"',
            "(must be more than 0)",
        ),
        (
            'url = "postgres:///b"\non_unavailable = "bound"\noverdraft_credits = "50"',
            'ledger.on_unavailable = "bound": expected "closed" or "bounded" or "open"',
        ),
        (
            'url = "postgres:///b"\non_unavailable = "bounded"\noverdraft_credits = 50',
            "ledger.overdraft_credits = 50: expected credits as a text",
        ),
        ('url = "sqlite:l.db"\nfile = "x"', "ledger.file: unknown key"),
        ('url = "postgresql://me:secret@x/y"', "without a password (`password_file`)"),
        ('url = "postgresql://x/y?password=secret"', "without a password (`password_file`)"),
        ('url = "postgresql://me:secr/et@x/y"', "without a password (`password_file`)"),
    ],
)
def test_mistakes_are_told_with_their_mend(write: Write, whole: str, lines: str, said: str) -> None:
    """Each once, and no password of a URL is ever shown."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(f"{whole}\n[ledger]\n{lines}\n"))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value).replace("secrets/", "")


@pytest.mark.parametrize(
    ("lines", "lent"),
    [
        ("", 0),
        ('on_unavailable = "closed"', 0),
        ('on_unavailable = "bounded"\noverdraft_credits = "0.000001"', 1),
        ('on_unavailable = "open"', limits.quota_micro_max),
    ],
)
def test_what_may_be_spent_without_it_is_one_amount(
    write: Write, whole: str, lines: str, lent: int
) -> None:
    """Nothing, some, or as much as there can be."""
    text = f'{whole}\n[ledger]\nurl = "sqlite:l.db"\n{lines}\n'
    assert load(write(text)).ledger.overdraft_micro_max == lent
