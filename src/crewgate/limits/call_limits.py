"""The bounds of [limit.NAME]: how often tools may be called, and how many calls at once."""

call_limits_max = 64  # `[limit.NAME]`; each may have to be compared with each call
call_limit_calls_max = 1_000_000  # and of a burst; beyond that, a machine itself is the limit
call_limit_seconds_max = 86_400  # a day; an allowance of credits suits longer times
call_limit_refill_seconds_max = 604_800  # of an empty bucket: a week, which a person still expects
concurrent_calls_max = 1024  # of one limit; to refuse a call, the gate looks at each of its places
# Cells of the table for the buckets and places of limits; one has 8 words, in all 1 MiB.
table_limit_cells = 16_384
table_limit_cell_words = 8  # 64 bytes, so that two buckets never share a line of a cache
# Words for limits of each branch in the table; 6 MiB in a table of the default size.
table_branch_limit_words = 12
call_limit_sets_max = 4096  # crews, roles, tools and parts of endpoints whose limits are kept
concurrency_retry_seconds = 1  # nobody knows when a call will end; most take less
