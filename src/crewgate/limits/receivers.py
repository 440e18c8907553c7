"""The bounds of reading the audit and of sending to receivers."""

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
