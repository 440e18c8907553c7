"""The bounds of trace contexts and of the export process (export/)."""

tracestate_chars_max = 512  # W3C Trace Context 3.3.1.5 asks gateways to pass on so many
