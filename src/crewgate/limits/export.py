"""The bounds of trace contexts and of the export process (export/); see also the receivers."""

export_attributes_max = 8192  # whose encoding is kept; 200 bytes each
export_loss_shown_seconds = 3600.0  # health reports lost records for so long
export_refusals_max = 16  # in a row, before a batch waits whole; ten halvings find one bad record
export_save_seconds = 1.0  # between two writes of a position; a crash repeats these records
export_stuck_seconds = 60.0  # for a file system to answer; twice what a request may take
exports_max = 8  # receivers; each reads the audit by itself
syslog_datagram_bytes_max = 65_000  # what UDP over IPv4 carries (RFC 5426 3.2), less some headers
tracestate_chars_max = 512  # W3C Trace Context 3.3.1.5 asks gateways to pass on so many
