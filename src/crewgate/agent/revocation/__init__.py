"""Revocation on this machine: entries, the processes that follow them, and the other machines."""
