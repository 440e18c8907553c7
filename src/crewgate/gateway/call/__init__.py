"""One call: authorize, reserve, forward, settle, record. `gateway` has the sequence."""
