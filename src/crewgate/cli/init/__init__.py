"""What `crewgate init` writes: a configuration, keys and certificates."""
