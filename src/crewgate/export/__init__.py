"""The export process: reads the audit files and sends their records to receivers.

`audit_tail` reads, `delivery` retries, and a channel (`otlp_channels`, `syslog_channel`,
`ocsf_channels`) sends. No call waits for the process, and it decides nothing. The audit itself is
the queue: a receiver that is away for an hour gets the records of this hour afterwards.
"""
