"""Credit on this machine: draws from the ledger, overruns, and burned reservations.

`draws` answers the workers that ask for credit. `ledger_mark` refuses a ledger that has forgotten
what this machine was granted. `overrun_journal` counts each overrun once, whatever process dies.
"""
