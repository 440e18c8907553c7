"""Metrics: what all processes of a machine count, in memory that outlives each of them.

`families` declares every metric. `crewgate serve` makes the memory (`memory`) and gives a shard of
it to each process that it starts; the process counts in its shard (`process_metrics`). When a
process ends, its shard keeps the counts, and the next process goes on counting there. So a process
that is killed loses no count. The admin process reads all shards and adds them up (`exposition`).
"""
