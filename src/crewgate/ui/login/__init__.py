"""Who uses the live page: logins at a provider, sessions, and proofs of the key of a browser."""
