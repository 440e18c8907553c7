"""Credit as pure values: accounts, leases, and the operations of a ledger on them.

A draw charges a lease to the branch and to every level above it. For each level, settled, reserved,
leased, burned and remaining credit add up to its quota (`AccountStatement`). `memory_ledger` is the
reference that the SQL ledgers are tested against.
"""
