"""The durable ledger: the rules of `core.budget` on accounts that a database keeps.

SQLite serves one machine, PostgreSQL several. `operation_queue` carries many operations in one
transaction. An operation is on the disk before anybody uses its answer.
"""
