"""The bounds of budgets: of leases, draws and the ledger."""

# Leases and draws (core/budget/memory_ledger.py, leases/, agent/budget/draws.py).
lease_rate_divisor = 4  # a lease holds 1/4 second of recent spending; a crash burns no more
# Idle credit goes back after this time, or at once if another branch or machine needs it. After a
# shorter pause, the calls of a branch would each wait for a draw. A crash burns no older credit.
lease_idle_seconds = 60.0
ticket_seconds = 0.5  # a waiting draw comes back every 0.02 s; by then its caller has given up
draw_rounds_max = 32  # recalls of one draw: two for each of ten levels, and a few lost races
leases_scanned_per_look = 4096  # 2.5 µs each: 10 ms per second; 64 scans for the largest table
draw_ahead_seconds_max = 0.25  # if half a lease lasts longer, a call that lacks credit draws
draw_exchanges_max = 8192  # branches with a question at the ledger at once; the draws of one second
repaid_branches_max = 1024  # overdrafts settled at once; the others follow a second later
# How often waiting draws check whether credit came back; a planned prefetch waits at least as long.
draw_look_seconds = 0.005

# The ledger and the machines that share it (ledger/, agent/budget/shared_ledger_tasks.py).
holder_silence_seconds = 30.0  # ten times what a restart takes; recalls should not wait longer
holder_chars_max = 64  # a node's name (HOST_NAME_MAX of Linux), which people read in reports
ledger_batch_max = 256  # operations in one transaction: 25 ms of work, and then a commit
ledger_keys_max = 1024  # keys in one statement; SQLite takes 32,766 values
# A ledger that takes longer counts as unavailable, and calls are refused at once. This is the wait
# of one call; a longer configured wait replaces it.
ledger_patience_seconds = 2.0
ledger_again_seconds_min = 0.05  # until an unavailable ledger is asked again; the pause doubles
ledger_again_seconds_max = 2.0  # longest such pause: the ledger may be back
ledger_farewell_seconds = 4.0  # for an ending agent to give credit back; the rest burns
ledger_connect_seconds = 3.0  # to a server nearby; the queue tries again later
ledger_statement_seconds = 10.0  # a server that takes longer is as good as down
ledger_statements_kept = 512  # texts of statements; the project has fewer
recall_again_seconds = 0.1  # until other machines are asked again for credit of a level
ledger_listen_seconds = 1.0  # until a lost connection for notifications is made again
ledger_beat_seconds = 1.0  # 30 heartbeats before a machine counts as unresponsive
ledger_log_bytes = 4096 * 1000  # SQLite's log, in pages, until it is copied and begun again
ledger_copied_seconds = 1.0  # from a commit until it is copied into SQLite's own file
ledger_mark_seconds = 5.0  # the mark on the disk is at most this old: 0.2 syncs per second
ledger_marks_seconds = 60.0  # until the marks of other members are written to the disk
ledger_failover_operations_max = 10**6  # lost by one failover; the fastest machine needs over 10 s
ledger_busy_seconds = 5.0  # for another process that writes to the file: to migrate or forgive
