"""Machines of one trust domain: how soon a revocation is in force on all, and what it costs."""
