"""Makes what `crewgate init` writes: a configuration, keys and certificates."""
