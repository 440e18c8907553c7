"""Revocations on this machine, from the request to the receipt.

`revocation_store` enters keys into the table, `revocation_notifier` sends them to the attached
processes and to the other machines, and `quorum_wait` waits until enough machines have them.
`crew_table_quota` limits the share of the table that one crew may use. If a share is full, the next
revocation revokes all tokens of the crew; `coarsened_crews` keeps such crews.
"""
