"""Leases of credit: how the owner of a table draws credit for branches, and gives it back.

`LeaseClient` is the one entry. It opens branches (`branch_opening`), fills their leases
(`refill`), takes credit back out of idle ones (`give_back`), and overdraws while the ledger is away
(`overdraft`). `lease_index` is what the owner knows of its records without reading the table.
"""
