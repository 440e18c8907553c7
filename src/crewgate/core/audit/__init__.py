"""The records of the audit: what each one holds, how a call makes one, and its line of JSON."""
