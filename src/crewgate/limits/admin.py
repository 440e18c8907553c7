"""The bounds of the admin listener (admin/)."""

admin_connections_max = 64  # a probe and a scraper have one each; the rest is for people
admin_head_bytes_max = 8192  # a line and a few fields
admin_head_seconds = 5.0  # for the whole head of a request, and for the client to take an answer
admin_idle_seconds = 120.0  # between two requests of a connection; scrapers ask each minute at most
admin_agent_seconds = 0.7  # for the agent's status; a kubelet waits one second for the probe
admin_status_seconds = 1.0  # the listener repeats the agent's answer for so long
admin_stuck_seconds = 30.0  # an agent that takes connections and answers none for so long is stuck
admin_threads_max = 4  # that wait for the agent; one asks, and the others wait for its answer
admin_nice = 5  # below workers and agent: a flood of probes must not delay verdicts
