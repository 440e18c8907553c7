"""The bounds of what holds budgets: leases, draws, and the ledger that they are drawn from."""

# Leases and draws (core/budget/memory_ledger.py, verifier/, agent/budget/draws.py).
lease_rate_divisor = 4  # a lease holds a quarter second of recent spend: what a crash may burn
ticket_seconds = 0.5  # who waits comes back every 0.02 s; who has not by then has given up
draw_rounds_max = 32  # recalls of one draw: two for each of ten levels, and a few lost races
leases_scanned_per_look = 4096  # 10 ms a second at 2.5 µs each; the largest table in 64 looks
draw_ahead_seconds_max = 0.25  # half a lease that lasts longer is not spent before somebody asks
draw_talks_max = 8192  # branches that the ledger is asked about at once; a second's draws
repaid_branches_max = 1024  # have what they were lent charged at once; the others a second later
draw_look_seconds = 0.005  # whether credit came back for a waiting draw

# The ledger and who shares it (ledger/, agent/budget/ledger_heartbeat.py).
holder_silence_seconds = 30.0  # a recall waits no longer: ten times what a restart takes
holder_chars_max = 64  # of a node's name (HOST_NAME_MAX of Linux), which people read in reports
ledger_batch_max = 256  # operations of one transaction: 25 ms of work, and then a commit
ledger_keys_max = 1024  # of one question; SQLite takes 32,766 values
# A ledger that takes longer counts as away, and calls are refused at once: one wait of a call, or
# the wait that is configured if that is longer.
ledger_patience_seconds = 2.0
ledger_again_seconds_min = 0.05  # a ledger that is away is asked again after so long, doubling
ledger_again_seconds_max = 2.0  # that long at most: it is not kept waiting when it is back
ledger_farewell_seconds = 4.0  # for what an agent that ends gives back; else it burns
ledger_connect_seconds = 3.0  # to a server that is near; asked again later
ledger_statement_seconds = 10.0  # a server that takes longer is as good as down
ledger_statements_kept = 512  # texts of ours, of which there are fewer
recall_again_seconds = 0.1  # others are asked again for the credit of a level that is wanted
ledger_listen_seconds = 1.0  # until a connection that hears of recalls is made again
ledger_beat_seconds = 1.0  # thirty signs of life before a machine counts as silent
ledger_log_bytes = 4096 * 1000  # of SQLite's log: pages until it is copied and begun anew
ledger_copied_seconds = 1.0  # what is committed stands in SQLite's own file so much later
ledger_mark_seconds = 5.0  # the mark on the disk is behind at most so long: 0.2 syncs a second
ledger_marks_seconds = 60.0  # what members say of their ledgers is on the disk so much later
ledger_failover_operations_max = 10**6  # lost by one: ten seconds of the fastest machine and more
ledger_busy_seconds = 5.0  # for another process that writes to the file: a migration, a forgiveness
