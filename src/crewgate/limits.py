"""Every bound, with its unit in its name and its reason beside it; configuration may lower one."""

# Tokens. The shape of design and RFC 9068; sizes keep a hostile token under 200 µs of CPU.
token_bytes_max = 4096  # a header field of 8 KiB is what proxies commonly take; half of it
token_lifetime_seconds_max = 900  # 15 minutes: a leaked token is worth at most that
leeway_seconds = 5  # clocks of machines with NTP differ by far less
json_depth_max = 8  # our claims need 3
json_members_max = 64  # members of one object; our claims have 15
claim_chars_max = 128  # URLs and names; the whole token stays under 4 KiB
allowed_tools_max = 64
audiences_max = 8
depth_max = 8  # ancestors of a branch; trees of agents seen in the field are 3 deep
time_seconds_max = 2**40  # year 36,812: far, and a sum of two stays in 64 bits
quota_micro_max = 2**53 - 1  # the largest integer that every JSON reader keeps exact

# The table: one mmap file a machine, allocated in full at creation.
table_branches_max = 262_144  # 250,000 live branches, 64 MiB of records
table_revocations_max = 1_048_576  # 1 M live revocations, 64 MiB of records
table_reservations_max = 65_536  # calls in flight on one machine, 8 MiB
table_attachments_max = 1024  # processes that map the table at once
lease_micro_max = 2**40 - 1  # 1.09 M credits; the amount's bits of the available-credit word
price_micro_max = lease_micro_max  # a call's price must fit a lease
branch_memory_seconds = 86_400  # a branch's spend is remembered a day after its last grant ends
fresh_seconds = 5.0  # a table that no agent has vouched for so long admits nothing
fresh_interval_seconds = 0.25  # the agent vouches four times a second

# The verified-token cache of one process.
token_cache_entries_max = 65_536
token_cache_bytes_max = 64 * 2**20

# Waiting for credit.
credit_wait_seconds_max = 0.25  # longer than a draw, shorter than a client's patience
reservation_seconds_max = 600.0  # a call in flight is burned after this unless it extends
