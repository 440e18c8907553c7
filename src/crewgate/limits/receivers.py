"""The bounds of reading the audit and of sending to receivers: the export, and the alerts."""

audit_batch_bytes_max = 2**20  # of audit lines in one request, each of about a kilobyte
audit_batch_records_max = 1024  # in one request; twice what batching SDKs of OpenTelemetry send
audit_look_seconds = 1.0  # between two looks for new lines while all are read
receiver_backoff_seconds_max = 30.0  # between two attempts; an away receiver is found within it
receiver_backoff_seconds_min = 0.5  # before the second attempt; each further pause is twice as long
receiver_end_seconds = 3.0  # for the last messages after SIGTERM; the next process sends the others
receiver_grace_seconds = 10.0  # a receiver that is away for less is a restart of it
receiver_message_chars_max = 120  # of what a receiver says, in a line of log
receiver_nice = 10  # below all others: no call and no probe waits for such a process
receiver_request_seconds = 30.0  # for one request, with its connection; OTLP's own default is 10
receiver_response_bytes_max = 65_536  # an OTLP response has a count and a message
receiver_retry_seconds_max = 600.0  # of a Retry-After; a larger one may be a mistake

# The alerts (alerts/).
alert_receivers_max = 8  # each gets the alerts in its own order
alert_thresholds_max = 8  # of one receiver; three by default
alert_secrets_max = 4  # of one webhook, so that a secret can be replaced without a pause
alert_secret_bytes_min = 24  # of a webhook's secret, as Standard Webhooks asks
alert_secret_bytes_max = 64  # the same
alerts_waiting_max = 10_000  # for one receiver, of about a kilobyte; then the least urgent one goes
alerts_done_max = 2000  # for one receiver, that `crewgate alerts list` can show
alerts_done_seconds = 7 * 86_400  # for which it shows them
alerts_wait_seconds = 3 * 86_400  # for a receiver that is away; older news help nobody
alert_refusals_max = 5  # of one alert, before it is given up if the receiver takes other ones
alert_backlog_attempts_max = 1000  # that are counted, so that a number stays small
alert_text_chars_max = 1000  # of a text, and of what to do next
alert_history_rows = 20  # that `crewgate alerts list` shows by default
alert_status_seconds = 2.0  # between two looks at the health of this machine
alert_members_seconds = 5.0  # between two looks at the machines of the cluster
alert_tree_seconds = 5.0  # at least, between two looks at the branches
alert_tree_share = 0.02  # of the time that these looks take at most: a full table takes a second
alerts_of_look_max = 1000  # of one look at the branches; the next look tells the others
alert_agent_seconds = 30.0  # without an answer of the agent, before a person hears of it
alert_bad_seconds = 3.0  # that a bad state must last; the agent gives a start its own grace
alert_calm_seconds = 30.0  # a better state is told after it has lasted for so long
alert_calm_seconds_max = 3600.0  # of a component that flaps: two alerts an hour
alert_takeover_seconds = 60.0  # for the machine that sends an alert, before another one does
alert_start_seconds = 60.0  # of the past that the first process of all tells about
alert_named_max = 16  # branches, or other names, in one alert
