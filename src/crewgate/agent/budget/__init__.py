"""Credit on this machine: draws from the ledger, overruns, and burned reservations.

`draws` answers processes that ask for credit. `ledger_mark_keeper` refuses a ledger that is older
than this machine's leases. `overrun_journal` counts each overrun once, whatever process dies.
"""
