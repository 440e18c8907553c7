"""Leases of credit: the owner of a table draws credit for branches and gives it back.

`LeaseClient` is the one entry. It opens branches (`branch_opening`) within each crew's share of the
records (`branch_count_limiter`), fills their leases (`lease_draws`), takes idle credit back
(`lease_returns`), and overdraws while the ledger is unavailable (`outage_overdraft`). `lease_index`
holds what the owner knows of its records without reading the table.
"""
