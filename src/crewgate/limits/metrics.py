"""The bounds of the metrics (metrics/)."""

metrics_shards_max = 144  # 64 workers and their successors, two agents, and a few others
metrics_call_series_max = 16_384  # that a worker remembers; more than a shard has room for
metrics_interval_seconds = 1.0  # between two looks of a process at what it does not count itself
metrics_process_seconds = 15.0  # for the figures of /proc, which cost more; scrapers ask as often
