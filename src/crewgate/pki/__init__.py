"""Certificates: the authority of a development set-up, and what hangs on it."""
