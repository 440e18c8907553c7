"""Leases of credit: the owner of a table draws credit for branches and gives it back.

`LeaseClient` is the one entry. It opens branches (`branch_opening`) within each crew's share of the
records (`branch_quota`), fills their leases (`refill`), takes idle credit back (`give_back`), and
overdraws while the ledger is unavailable (`overdraft`, with an example of the settlement order).
`lease_index` holds what the owner knows of its records without reading the table.
"""
