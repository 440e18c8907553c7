"""The durable ledger: the rules of `core/budget` on accounts that a database keeps.

`operation_queue` carries many operations in one transaction. SQLite serves one machine, PostgreSQL
several. An operation is on the disk before its result is used.
"""
