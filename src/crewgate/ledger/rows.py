"""Converts accounts and leases to rows and back; the only place that knows their columns."""

import msgspec

from crewgate.core.budget.account import Account, CrewAccount
from crewgate.core.budget.ledger_lease import CreditTotals, LedgerLease
from crewgate.core.budget.ledger_protocol import (
    CrewDrawLimits,
    DrawGranted,
    DrawQueued,
    QuotaExhausted,
    WindowUsage,
)
from crewgate.ledger.sql_session import Row

ACCOUNT = (
    "key, path, name, quota, iat, charged, settled, reserved, burned, live, overrun, hourly_max, "
    "daily_max, hour, hour_charged, day, day_charged"
)
LEASE = (
    "branch, holder, boot, granted, given_back, spent, reserved, lost, overrun, written_off, void, "
    "forgiven, seq, reply, report, hour, hour_charged, day, day_charged"
)
_KEY_BYTES = 16
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DrawGranted | DrawQueued | QuotaExhausted).decode
_NO_WINDOWS = (0, 0, 0, 0, 0, 0)


def upsert(table: str, columns: str, key: str) -> str:
    """Return a statement that inserts a whole row, or replaces the one with the same key."""
    names, keys = columns.split(", "), key.split(", ")
    values = ", ".join("?" * len(names))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({values}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
    )


def split(path: bytes) -> tuple[bytes, ...]:
    """Return the keys of a path, which a row stores end to end."""
    return tuple(path[at : at + _KEY_BYTES] for at in range(0, len(path), _KEY_BYTES))


def account_row(account: Account) -> Row:
    """Return the row of an account, in the order of ACCOUNT."""
    windows = _NO_WINDOWS
    if isinstance(account, CrewAccount):
        allowance, hour, day = account.allowance, account.hour, account.day
        caps = allowance.hourly_max, allowance.daily_max
        windows = (*caps, hour.number, hour.charged, day.number, day.charged)
    path = b"".join(account.path)
    return (
        account.key, path, account.name, account.quota, account.iat, *account.totals, *windows
    )  # fmt: skip


def account_of(row: Row) -> Account:
    """Return the account of a row, without its leases and tickets."""
    key, path, name, quota, iat, *rest = row
    totals, (hourly, daily, hour, hour_charged, day, day_charged) = (
        CreditTotals(*rest[:6]),
        rest[6:],
    )
    if path:
        return Account(key, split(path), quota, iat, name, totals)
    return CrewAccount(
        key, (), quota, iat, name, totals,
        allowance=CrewDrawLimits(hourly, daily),
        hour=WindowUsage(hour, hour_charged),
        day=WindowUsage(day, day_charged),
    )  # fmt: skip


def lease_row(branch: bytes, holder: str, boot: bytes, lease: LedgerLease) -> Row:
    """Return the row of a lease, in the order of LEASE."""
    reply = None if lease.reply is None else _encode(lease.reply)
    return (
        branch, holder, boot, lease.granted, lease.given_back, lease.spent, lease.reserved,
        lease.lost, lease.overrun, lease.written_off, lease.void, lease.forgiven, lease.seq, reply,
        lease.report,
        lease.hour.number, lease.hour.charged, lease.day.number, lease.day.charged,
    )  # fmt: skip


def lease_of(row: Row) -> LedgerLease:
    """Return the lease that `lease_row` wrote."""
    granted, given_back, spent, reserved, lost, overrun, written_off, void, forgiven = row[3:12]
    seq, reply, report, hour, hour_charged, day, day_charged = row[12:]
    return LedgerLease(
        granted, given_back, spent, reserved, lost, overrun, written_off, void, forgiven, seq,
        None if reply is None else _decode(reply),
        report,
        WindowUsage(hour, hour_charged),
        WindowUsage(day, day_charged),
    )  # fmt: skip
