"""The bounds of `crewgate top` (cli/top/)."""

top_rate_seconds = 10.0  # a rate is about so long: shorter, and single calls make it jump
top_interval_seconds_min = 1.0  # between two readings, as the agent counts in pieces of a second
top_interval_seconds_max = 60.0  # beyond, a call could come and go in a minute without a trace
top_busy_share = 0.2  # of the time that readings may take: a table with many branches is read less
top_escape_seconds = 0.05  # after Escape, in which the rest of a key's sequence comes over ssh
top_filter_chars_max = 64  # a role or a crew at its longest; it stands in the first line
top_receipts_max = 100  # shown again at the end
top_sequence_bytes_max = 32  # of a key: the longest that terminals send has some ten
top_late_seconds = 2.0  # without an answer, after which the screen says so; it takes 5 to give up
top_trouble_lines_max = 3  # what cannot be read is told in so many
