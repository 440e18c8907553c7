"""Budgets as pure values: accounts, leases, and the ledger's operations on them.

A draw charges a lease to the branch and to every level above it. For each level, settled, reserved,
leased, burned and remaining credit add up to its quota (`AccountStatement`). `memory_ledger` is the
reference: the SQL ledgers decide with its code, and the tests compare them with it.
"""
