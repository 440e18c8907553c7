"""The bounds of trace contexts and of the export process (export/)."""

export_attributes_max = 8192  # whose encoding is kept; 200 bytes each
export_backoff_seconds_max = 30.0  # between two attempts; an away receiver is found within it
export_backoff_seconds_min = 0.5  # before the second attempt; each further pause is twice as long
export_batch_bytes_max = 2**20  # of audit lines in one request, each of about a kilobyte
export_batch_records_max = 1024  # in one request; twice what batching SDKs of OpenTelemetry send
export_end_seconds = 3.0  # for the last records after SIGTERM; the next process sends the others
export_grace_seconds = 10.0  # a receiver that is away for less is a restart of it
export_loss_shown_seconds = 3600.0  # health reports lost records for so long
export_message_chars_max = 120  # of what a receiver says, in a line of log
export_nice = 10  # below all others: no call and no probe waits for it
export_poll_seconds = 1.0  # between two looks for new lines while all are sent
export_refusals_max = 16  # in a row, before a batch waits whole; ten halvings find one bad record
export_request_seconds = 30.0  # for one request, with its connection; OTLP's own default is 10
export_response_bytes_max = 65_536  # an OTLP response has a count and a message
export_retry_seconds_max = 600.0  # of a Retry-After; a larger one may be a mistake
export_save_seconds = 1.0  # between two writes of a position; a crash repeats these records
export_stuck_seconds = 60.0  # for a file system to answer; twice what a request may take
exports_max = 8  # receivers; each reads the audit by itself
syslog_datagram_bytes_max = 65_000  # what UDP over IPv4 carries (RFC 5426 3.2), less some headers
tracestate_chars_max = 512  # W3C Trace Context 3.3.1.5 asks gateways to pass on so many
