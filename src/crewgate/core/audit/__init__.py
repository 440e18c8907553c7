"""The records of the audit, how a call makes one, and their form as lines of JSON."""
