"""[ledger]: where the durable ledger is kept, one file or one PostgreSQL for many machines."""

import re
from pathlib import Path
from typing import cast

import msgspec

from crewgate import limits
from crewgate.config import values
from crewgate.config.model import Durability, LedgerConfig
from crewgate.config.section import Section, ValueType

_DURABILITY: ValueType[Durability] = values.one_of("single", "synchronous", "trusted")
_ON_UNAVAILABLE: ValueType[str] = values.one_of("closed", "bounded", "open")
_CREDITS = values.some_credits_up_to(limits.quota_micro_max)
_SQLITE = "sqlite:"
# A password has a file of its own: this one is read by many, and its URL is shown.
_POSTGRESQL = re.compile(r"postgres(?:ql)?://(?:[^\s:/@?#]+@)?[^\s@]*", re.ASCII)
_PASSWORD = re.compile(r"[?&](?:ssl)?password=", re.ASCII)


def read_ledger(section: Section | None, state: Path, path: ValueType[Path]) -> LedgerConfig:
    """A file in the state folder where nothing is said."""
    if section is None:
        return LedgerConfig("sqlite", state / "ledger.db")
    where = ValueType(
        '"sqlite:FILE" or "postgresql://USER@HOST/DATABASE", without a password (`password_file`)',
        lambda value: _where(value, path),
    )
    ledger = section.required("url", where)
    word = section.optional("password_file", cast("ValueType[Path | None]", path), None)
    if word is not None and ledger is not None:
        if ledger.engine == "sqlite":
            section.problem("password_file: a file has no password; take it out")
        ledger = msgspec.structs.replace(ledger, password_file=word)
    default: Durability = "single"
    durability = section.optional("durability", _DURABILITY, default)
    if durability != "single" and ledger is not None:
        if ledger.engine == "sqlite":
            section.problem("durability: a file is synced always; take it out")
        ledger = msgspec.structs.replace(ledger, durability=durability)
    if section.optional("per_machine", values.SWITCH, default=False) and ledger is not None:
        if ledger.engine != "sqlite":
            section.problem("per_machine: budgets on a server are every machine's; take it out")
        ledger = msgspec.structs.replace(ledger, per_machine=True)
    lent = _lent(section)
    if lent and ledger is not None:
        ledger = msgspec.structs.replace(ledger, overdraft_micro_max=lent)
    section.close()
    return ledger


def _lent(section: Section) -> int:
    """What may be spent without the ledger, while that does not answer."""
    given = section.keys()
    # One that cannot be read says nothing of the other key.
    word = section.optional(
        "on_unavailable", _ON_UNAVAILABLE, "" if "on_unavailable" in given else "closed"
    )
    credits_ = section.optional("overdraft_credits", _CREDITS, 0)
    if word == "bounded" and "overdraft_credits" not in given:
        section.problem(
            'missing; on_unavailable = "bounded" needs how many credits this machine may spend, '
            'such as "50"',
            "overdraft_credits",
        )
    if word in {"closed", "open"} and "overdraft_credits" in given:
        section.problem(
            f'only with on_unavailable = "bounded"; on_unavailable is "{word}"', "overdraft_credits"
        )
    return {"closed": 0, "bounded": credits_}.get(word, limits.quota_micro_max)


def is_server(url: str) -> bool:
    """Whether this names a PostgreSQL, and no password."""
    return bool(_POSTGRESQL.fullmatch(url)) and not _PASSWORD.search(url)


def _where(value: object, path: ValueType[Path]) -> LedgerConfig:
    if isinstance(value, str) and value.startswith(_SQLITE) and value != _SQLITE:
        return LedgerConfig("sqlite", path.read(value.removeprefix(_SQLITE)))
    if isinstance(value, str) and is_server(value):
        return LedgerConfig("postgresql", url=value)
    raise ValueError
