"""Requests of sub-agents for more time, credits or tools, and who decides about them."""
