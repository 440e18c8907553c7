"""[ledger]: where the durable ledger is kept, one file or one PostgreSQL for many machines."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import Key, KeyGroup, TableSchema
from crewgate.config.section import Section, ValueParser
from crewgate.config.values import FilePath

Engine = Literal["sqlite", "postgresql"]
Durability = Literal["single", "synchronous", "trusted"]  # what is asked of a ledger's server
OnUnavailable = Literal["closed", "bounded", "open"]

_SQLITE = "sqlite:"
# A password has a file of its own: this one is read by many, and its URL is shown.
_POSTGRESQL = re.compile(r"postgres(?:ql)?://(?:[^\s:/@?#]+@)?[^\s@]*", re.ASCII)
_PASSWORD = re.compile(r"[?&](?:ssl)?password=", re.ASCII)


def is_server(url: str) -> bool:
    """Whether this names a PostgreSQL, and no password."""
    return bool(_POSTGRESQL.fullmatch(url)) and not _PASSWORD.search(url)


class _Place(msgspec.Struct, frozen=True):
    """What a URL stands for."""

    engine: Engine
    file: Path | None = None
    url: str = ""


def _place(value: object) -> _Place:
    if isinstance(value, str) and value.startswith(_SQLITE) and value != _SQLITE:
        return _Place("sqlite", values.PATH.read(value.removeprefix(_SQLITE)))
    if isinstance(value, str) and is_server(value):
        return _Place("postgresql", url=value)
    raise ValueError


def _in_folder(place: _Place, folder: Path) -> _Place:
    return msgspec.structs.replace(place, file=place.file and folder / place.file)


_URL = ValueParser(
    '"sqlite:FILE" or "postgresql://USER@HOST/DATABASE", without a password (`password_file`)',
    _place,
    resolve=_in_folder,
)


class _PlaceKeys(msgspec.Struct, frozen=True):
    """The key that says where the ledger is."""

    url: Annotated[_Place, _URL, "Place of all budgets: a file, or a server for many machines."]

    def build(self) -> dict[str, object]:
        """What the URL says, each in a field of its own."""
        return msgspec.structs.asdict(self.url)


class _OverdraftKeys(msgspec.Struct, frozen=True):
    """What becomes of calls while the ledger does not answer."""

    on_unavailable: Annotated[
        OnUnavailable,
        'While the ledger does not answer, "closed" refuses calls with 503, "bounded" lets them '
        'spend `overdraft_credits`, and "open" sets no bound.',
    ] = "closed"
    overdraft_credits: Annotated[
        int | None,
        values.some_credits_up_to(limits.quota_micro_max),
        'With "bounded": credits that this machine may spend until the ledger answers.',
    ] = None

    def check(self, section: Section) -> None:
        """An amount stands there if and only if there is a bound."""
        key, word = "overdraft_credits", self.on_unavailable
        if word == "bounded" and self.overdraft_credits is None:
            section.problem(
                'missing; on_unavailable = "bounded" needs how many credits this machine may '
                'spend, such as "50"',
                key,
            )
        if word != "bounded" and self.overdraft_credits is not None:
            section.problem(
                f'only with on_unavailable = "bounded"; on_unavailable is "{word}"', key
            )

    def build(self) -> dict[str, object]:
        """One amount."""
        most = {"closed": 0, "bounded": self.overdraft_credits, "open": limits.quota_micro_max}
        return {"overdraft_micro_max": most[self.on_unavailable]}


class LedgerConfig(msgspec.Struct, frozen=True):
    """`file` is SQLite's; `url` and `password_file` are PostgreSQL's.

    While the ledger does not answer the machine lends itself at most `overdraft_micro_max`
    micro-credits.
    """

    engine: Annotated[Engine, KeyGroup(of=TableSchema(_PlaceKeys))]
    file: Path | None = None
    url: str = ""
    password_file: Annotated[
        FilePath | None, "File with PostgreSQL's password.", Key(absent="libpq knows it")
    ] = None
    durability: Annotated[
        Durability,
        'What PostgreSQL promises: "single", one server syncs every commit; "synchronous", a '
        'standby has every commit too; "trusted", nobody verifies that.',
    ] = "single"
    per_machine: Annotated[
        bool, "Each branch may spend its credits on each machine; only with a file."
    ] = False
    overdraft_micro_max: Annotated[int, KeyGroup(of=TableSchema(_OverdraftKeys))] = 0

    def __str__(self) -> str:
        """Where it is, for people."""
        where = f"sqlite:{self.file}" if self.file else self.url.partition("?")[0]
        return f"{where}, for this machine alone" if self.per_machine else where

    def check(self, section: Section) -> None:
        """A file has no password and is synced; a server is every machine's."""
        if self.engine == "sqlite" and self.password_file is not None:
            section.problem("password_file: a file has no password; take it out")
        if self.engine == "sqlite" and self.durability != "single":
            section.problem("durability: a file is synced always; take it out")
        if self.engine != "sqlite" and self.per_machine:
            section.problem("per_machine: budgets on a server are every machine's; take it out")
