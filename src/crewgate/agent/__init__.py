"""The one process of a machine that owns its table: ledger, registry, revocations, doors, ticks."""
