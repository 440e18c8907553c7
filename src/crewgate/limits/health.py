"""The bounds of health: components and texts, log lines on changes, missing reports, restarts."""

health_components_max = 512  # of one machine; a few for each of 64 workers and 16 listeners
health_facts_max = 64  # of one process; a worker has ten, and one for each listener and upstream
health_shown_max = 48  # conditions in one answer, the worst first; with all texts they fit a frame
health_name_chars_max = 128  # name of a component: a word, and the name of a crew or listener
health_text_chars_max = 400  # a reason or a remedy: a path, an error and a sentence
health_logs_max = 2048  # components whose last log lines are kept; four times those of one scan
health_report_seconds = 1.0  # so a failure is visible within two seconds
health_after_seconds = 0.25  # from the probes of disks to the report that has their results
health_report_seconds_max = 0.1  # for an agent to take a report; a process that waits does no work
health_settle_seconds = 5.0  # a better state must last this long before it is logged
health_settle_seconds_max = 600.0  # after an hour of flapping: three lines in ten minutes
health_calm_seconds = 3600.0  # after this long in good health, earlier failures no longer count
health_silence_seconds = 10.0  # a process without a report for so long is stopped or stuck
health_start_seconds = 30.0  # a start that takes longer is in trouble, on a busy machine too
certificate_warning_seconds = 30 * 86_400  # before the end of a long-lived certificate
disk_probe_bytes = 4096  # one block; a smaller write may find room where a record finds none
disk_probe_seconds = 1.0  # between probes; with the report, a failure is visible within two seconds
disk_probe_seconds_max = 2.0  # a write that takes longer keeps calls waiting
disk_free_share = 0.05  # a disk with less room is nearly full, unless it has more than the next
disk_free_bytes = 2**30  # which is minutes of a busy audit
disk_free_files = 1000  # the same for files; an audit of a worker makes a few in an hour
table_full_seconds = 60.0  # a table counts as full for so long after a branch found no record
health_deaths_seconds = 60.0  # window in which ends of a child process are counted
health_deaths_max = 3  # with this many in the window, the child does not come up by itself

# A restart (supervisor/serve.py).
agent_unavailable_seconds = 2.0  # draws wait so long for the next agent; a restart takes half of it
handover_seconds_max = 10.0  # for an agent to end after its successor has loaded; it takes 0.1
restart_seconds_in_all = 60.0  # for new processes to be ready; otherwise the old ones stay
unopened_branches_max = 1024  # whose refusal a process remembers; it asks anew for others
