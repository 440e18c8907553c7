"""The records of the audit log, how a call makes one, and their form as lines of JSON."""
