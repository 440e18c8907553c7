"""Credit as pure values: accounts, leases, and the operations of a ledger on them."""
