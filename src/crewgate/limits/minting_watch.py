"""The bounds of the minting watch (core/anomaly/)."""

watch_orchestrators_max = 16_384  # on a machine, at most half of them of one crew; 2 KiB each
watch_branches_max = 65_536  # remembered, as many as the table has by default; 0.3 KiB each
watch_branches_each_max = 4096  # of one orchestrator: the check of all of them takes 1 ms a minute
watch_branch_seconds = 3600  # after a branch's last grant; after a longer pause it counts as new
watch_memory_seconds = 86_400  # of an idle orchestrator, if another one needs its place
watch_save_seconds = 600  # of learning that a kill may lose; a baseline takes an hour
watch_look_names = 64  # checked per second, 0.2 ms: all of them within five minutes
watch_strikes = 3  # minutes out of bounds: one is a burst, two a bad release, three go on
watch_strikes_max = 60  # an hour of them
watch_calm_seconds = 900.0  # a token's life: after it, the tokens of a burst have ended
watch_calm_seconds_min = 60.0  # strikes are counted in minutes
watch_calm_seconds_max = 86_400.0  # for a longer time without a strike, use a quarantine
quarantine_seconds = 86_400  # a night and a morning: a person has looked at it by then
quarantine_seconds_min = 60  # a shorter one is no more than a throttle
quarantine_seconds_max = 7 * 86_400  # a week of holidays; to end one for good, revoke it
watch_extensions_max = 1_000_000  # of one branch: a year with one every half minute
watch_rows_max = 64  # in one answer; 400 bytes each
