"""The bounds of health: components, their texts, what the log says of changes, silence, start."""

health_components_max = 512  # of one machine; a few for each of 64 workers and 16 listeners
health_facts_max = 64  # of one process; a worker has ten, and one a listener and upstream
health_shown_max = 48  # conditions in one answer, the worst first: in a frame with all their texts
health_name_chars_max = 128  # of a component: a word, and the name of a crew or listener
health_text_chars_max = 400  # of a reason, or of how to mend it; a path, an error and a sentence
health_logs_max = 2048  # components whose last lines are remembered; four times those of one look
health_report_seconds = 1.0  # a failure is shown within two seconds
health_report_seconds_max = 0.1  # for an agent to take a report; who waits longer does no work
health_settle_seconds = 5.0  # a better state is logged once it has lasted so long
health_settle_seconds_max = 600.0  # what has flapped for an hour costs three lines in ten minutes
health_calm_seconds = 3600.0  # well for so long, a component has no past
health_silence_seconds = 10.0  # a process that has not reported for so long is stopped or stuck
health_start_seconds = 30.0  # what takes longer to start, on a busy machine too, is in trouble
certificate_warning_seconds = 30 * 86_400  # before the end of a certificate that lives for long
disk_probe_bytes = 4096  # a block: less may find room where a record finds none
disk_probe_seconds = 0.7  # between two probes; with the report of it, a failure is shown in two
disk_probe_seconds_max = 2.0  # a write that takes longer keeps calls waiting
table_full_seconds = 60.0  # a table in which a branch found no record counts as full for so long
health_deaths_seconds = 60.0  # ends of a child within that time are counted
health_deaths_max = 3  # so many of them, and it does not come up by itself

# A restart (supervisor/serve.py).
agent_away_seconds = 2.0  # draws wait so long for the next agent; one that is restarted takes half
handover_seconds_max = 10.0  # for an agent to end after its successor was loaded; it takes 0.1
restart_seconds_in_all = 60.0  # for new processes to be ready; then those before them stay
unopened_branches_max = 1024  # whose refusal a worker remembers; the others are asked anew
