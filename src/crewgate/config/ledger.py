"""The table [ledger]: the place of all budgets, a file or a PostgreSQL for many machines."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.declaration import FlattenedKeys, Key, TableSchema
from crewgate.config.toml_table_reader import TOMLTableReader, ValueParser
from crewgate.config.values import FilePath

Engine = Literal["sqlite", "postgresql"]
Durability = Literal["single", "synchronous", "trusted"]
OnUnavailable = Literal["closed", "bounded", "open"]

_SQLITE = "sqlite:"
# A password goes into a file of its own: many can read the configuration, and the URL is shown.
_POSTGRESQL = re.compile(r"postgres(?:ql)?://(?:[^\s:/@?#]+@)?[^\s@]*", re.ASCII)
_PASSWORD = re.compile(r"[?&](?:ssl)?password=", re.ASCII)


def is_server(url: str) -> bool:
    """Whether this is the URL of a PostgreSQL, without a password."""
    return bool(_POSTGRESQL.fullmatch(url)) and not _PASSWORD.search(url)


class _Place(msgspec.Struct, frozen=True):
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
    url: Annotated[_Place, _URL, "Place of all budgets: a file, or a server for many machines."]

    def build(self) -> dict[str, object]:
        """Return the parts of the URL as fields of `LedgerConfig`."""
        return msgspec.structs.asdict(self.url)


class _OverdraftKeys(msgspec.Struct, frozen=True):
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

    def check(self, section: TOMLTableReader) -> None:
        """Note an amount without a bound, or a bound without an amount."""
        key, policy = "overdraft_credits", self.on_unavailable
        if policy == "bounded" and self.overdraft_credits is None:
            section.problem(
                'missing; on_unavailable = "bounded" needs the credits that this machine may '
                'spend, such as "50"',
                key,
            )
        if policy != "bounded" and self.overdraft_credits is not None:
            section.problem(
                f'only with on_unavailable = "bounded"; on_unavailable is "{policy}"', key
            )

    def build(self) -> dict[str, object]:
        """Return the amount that the policy allows."""
        allowed = {"closed": 0, "bounded": self.overdraft_credits, "open": limits.quota_micro_max}
        return {"overdraft_micro_max": allowed[self.on_unavailable]}


class LedgerConfig(msgspec.Struct, frozen=True):
    """The place of all budgets: a `file` of SQLite, or a `url` and `password_file` of PostgreSQL.

    While the ledger does not answer, this machine may lend at most `overdraft_micro_max`
    micro-credits to its branches.
    """

    engine: Annotated[Engine, FlattenedKeys(of=TableSchema(_PlaceKeys))]
    file: Path | None = None
    url: str = ""
    password_file: Annotated[
        FilePath | None, "File with PostgreSQL's password.", Key(absent="libpq knows it")
    ] = None
    durability: Annotated[
        Durability,
        '"single": one server syncs each commit. "synchronous": a standby has it too. "trusted": '
        "the machine does not check whether the server has lost commits.",
    ] = "single"
    per_machine: Annotated[
        bool, "Each branch may spend its credits on each machine; only with a file."
    ] = False
    overdraft_micro_max: Annotated[int, FlattenedKeys(of=TableSchema(_OverdraftKeys))] = 0

    def __str__(self) -> str:
        """Return the place, in words for a person."""
        where = f"sqlite:{self.file}" if self.file else self.url.partition("?")[0]
        return f"{where}, for this machine alone" if self.per_machine else where

    def check(self, section: TOMLTableReader) -> None:
        """Note keys that do not apply to the engine."""
        if self.engine == "sqlite" and self.password_file is not None:
            section.problem("password_file: a ledger in a file has no password; remove the key")
        if self.engine == "sqlite" and self.durability != "single":
            section.problem("durability: a ledger in a file is always synced; remove the key")
        if self.engine != "sqlite" and self.per_machine:
            section.problem(
                "per_machine: all machines share the budgets on a server; remove the key"
            )
