"""Tokens as pure values: the place in a request, claims, grants and public keys."""
