"""Tokens as pure values: where a request carries one, claims, grants and public keys."""
