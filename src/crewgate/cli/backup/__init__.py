"""Backups: the list of files that belong into one, and how each file is copied and verified."""
