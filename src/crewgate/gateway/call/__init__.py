"""One call: authorise, reserve, forward, settle, record."""
