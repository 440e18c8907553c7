"""Signed checkpoints: what the audit files of a machine held, so that later changes are found.

`keeper` signs, every few seconds, the SHA-256 of what each file holds. `log` keeps the checkpoints,
each of which has the digest of the one before. `chain` reads them, and `verification`
compares the files with them.
"""
