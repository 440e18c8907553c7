"""[ledger]: where the durable ledger is kept, one file or one PostgreSQL for many machines."""

import re
from pathlib import Path
from typing import Literal, cast

import msgspec

from crewgate.config.section import Kind, Section

_SQLITE = "sqlite:"
_POSTGRESQL = re.compile(r"postgres(?:ql)?://\S+", re.ASCII)


class Ledger(msgspec.Struct, frozen=True):
    """`file` is SQLite's; `url` and `password_file` are PostgreSQL's."""

    engine: Literal["sqlite", "postgresql"]
    file: Path | None = None
    url: str = ""
    password_file: Path | None = None


def read_ledger(section: Section | None, state: Path, path: Kind[Path]) -> Ledger:
    """A file in the state folder where nothing is said."""
    if section is None:
        return Ledger("sqlite", state / "ledger.db")
    where = Kind('"sqlite:FILE" or "postgresql://USER@HOST/DATABASE"', lambda v: _where(v, path))
    ledger = section.required("url", where)
    word = section.optional("password_file", cast("Kind[Path | None]", path), None)
    if word is not None and ledger is not None:
        if ledger.engine == "sqlite":
            section.problem("password_file: a file has no password; take it out")
        ledger = msgspec.structs.replace(ledger, password_file=word)
    section.close()
    return ledger


def _where(value: object, path: Kind[Path]) -> Ledger:
    if isinstance(value, str) and value.startswith(_SQLITE) and value != _SQLITE:
        return Ledger("sqlite", path.read(value.removeprefix(_SQLITE)))
    if isinstance(value, str) and _POSTGRESQL.fullmatch(value):
        return Ledger("postgresql", url=value)
    raise ValueError
