"""Draws on the ledger, overruns, and the ledger that the agent must find again."""
