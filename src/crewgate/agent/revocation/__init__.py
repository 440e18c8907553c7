"""Revocations on this machine, from the request to the receipt.

`revocations` enters a key into the table, `fanout` sends it to the attached processes and to the
other machines, `quorum_wait` waits until enough of them have it. `quota` bounds the share of the
table that one crew can use; `coarsened` revokes the whole crew when its share is full.
"""
