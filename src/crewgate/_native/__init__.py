"""The native core: signatures, tokens, the shared table and the gate, compiled from `ext/`."""
