"""The native core, compiled from the Cython and C sources in `ext/`.

It verifies Ed25519 signatures, parses tokens, maps the shared table, decides each call in the gate,
filters header fields and writes audit lines. `Table` reads the table; only the agent opens it as
`OwnedTable` and writes branches and revocations. A worker writes nothing but its own reservations.
"""
